import type { Socket } from 'node:net';
import RtmpSession from 'node-media-server/src/session/rtmp_session.js';
import type { PublishGrant } from '#protocol/ingest/publish-session.ts';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import { OriginCallError } from '#transcoder/origin-client.ts';
import type { AmfValue } from './amf0-reader.ts';
import { GuardedRtmp, RtmpError, type RtmpCommand } from './guarded-rtmp.ts';
import type { PublishEnd } from './incoming-publish.ts';
import type { IngestMetrics } from './ingest-metrics.ts';
import type { IngestLimits } from './ingest-settings.ts';
import type { PublishRegistry } from './publish-registry.ts';
import type { Publish } from './publish.ts';
import { readConnect, readStreamName } from './rtmp-commands.ts';
import { toMetadata } from './stream-metadata.ts';
import type { Track } from './timeline.ts';

export type RtmpConnectionDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: IngestMetrics;
  readonly publishes: PublishRegistry;
};

/**
 * | state | left by | deadline |
 * |---|---|---|
 * | `handshake` | the end of the handshake | `handshakeTimeoutMs` |
 * | `connecting` | an acceptable publish command | `publishTimeoutMs` |
 * | `authorising` | the origin's answer; what the peer sends meanwhile is held | `authoriseTimeoutMs` |
 * | `publishing` | an unpublish, the end of the connection, silence | `firstMediaTimeoutMs`, then `lostAfterMs` |
 * | `lapsed` | media again: the origin is asked anew | `silenceTimeoutMs` from the last media |
 * | `closing` | the peer has read why, or a second has passed; what it sends is thrown away | `FAREWELL_MS` |
 * | `closed` | – | – |
 */
type State = 'handshake' | 'connecting' | 'authorising' | 'publishing' | 'lapsed' | 'closing' | 'closed';

/** What a peer is told before its connection ends. */
type Farewell = { readonly level: 'status' | 'error'; readonly code: string; readonly description: string };

const FAREWELL_MS = 1_000;
/** After a stall of this process the timer fires before the bytes that came meanwhile are read: look again after them. */
const SECOND_LOOK_MS = 20;
const KEEP_ALIVE_PROBE_MS = 10_000;
/** What held metadata counts for: the most that its limits let it be. */
const METADATA_COST_BYTES = 64 * 1024;
const UNPUBLISH_COMMANDS = new Set(['FCUnpublish', 'deleteStream', 'closeStream']);

/**
 * One RTMP connection, from its first byte to its last: a session of node-media-server whose every handler is ours.
 * Only a peer whose stream key the origin has accepted can make anything happen outside its own connection.
 */
export class RtmpConnection {
  readonly #socket: Socket;
  readonly #limits: IngestLimits;
  readonly #deps: RtmpConnectionDeps;
  readonly #session: RtmpSession;
  readonly #rtmp: GuardedRtmp;
  readonly #remoteAddress: string;
  #state: State = 'handshake';
  #deadline: Timer | undefined;
  #abort: AbortController | undefined;
  #isConnected = false;
  #commandCount = 0;
  #receivedBytes = 0;
  #acknowledgedBytes = 0;
  #streamKey = '';
  #publish: Publish | undefined;
  #lastMediaMs: number | undefined;
  /** What came while the origin was being asked, to be done when it has accepted. */
  #held: (() => void)[] = [];
  #heldBytes = 0;

  /** Takes over a socket that has just been accepted. */
  constructor(socket: Socket, limits: IngestLimits, deps: RtmpConnectionDeps) {
    this.#socket = socket;
    this.#limits = limits;
    this.#deps = deps;
    this.#remoteAddress = socket.remoteAddress ?? '';
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_PROBE_MS);
    this.#rtmp = new GuardedRtmp(limits, {
      mayReceiveMedia: () => ['authorising', 'publishing', 'lapsed'].includes(this.#state),
      onHandshakeDone: () => this.#enter('connecting', limits.publishTimeoutMs, 'publish_timeout'),
      onCommand: (command) => this.#onCommand(command),
      onMedia: (track, timestampMs, payload) => this.#onMedia(track, timestampMs, payload),
      onData: (values) => this.#onDataMessage(values),
      onIgnored: (kind) => deps.metrics.messagesIgnored.inc({ kind }),
    });
    this.#session = this.#takeOverSession();
    this.#enter('handshake', limits.handshakeTimeoutMs, 'handshake_timeout');
    this.#session.run();
  }

  /** Ends the connection because the ingest stops; the broadcaster will come back to another. */
  shutDown(): void {
    this.#end('shutdown', 'lost');
  }

  #takeOverSession(): RtmpSession {
    const session = new RtmpSession(this.#socket);
    session.rtmp = this.#rtmp;
    const { onData, onPush, onClose } = session;
    session.onData = (bytes) => this.#onBytes(bytes, onData);
    session.onPush = () => {
      session.broadcast.publishGraceMs = 0;
      onPush();
    };
    session.onOutput = (bytes) => this.#onOutput(bytes);
    session.onPlay = () => this.#end('play_refused', 'error');
    session.onPacket = () => {};
    session.onError = () => {};
    session.onClose = () => {
      this.#end('peer_closed', 'lost');
      this.#state = 'closed';
      this.#deadline?.cancel();
      onClose();
    };
    return session;
  }

  #onBytes(bytes: Buffer, parse: (bytes: Buffer) => void): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    this.#receivedBytes += bytes.length;
    this.#deps.metrics.receivedBytes.inc(bytes.length);
    try {
      parse(bytes);
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#acknowledge();
  }

  /** @spec RTMP 1.0 §5.4.3: some encoders stop when nobody acknowledges what they send. */
  #acknowledge(): void {
    const windowBytes = this.#rtmp.ackSize;
    if (windowBytes === undefined || this.#receivedBytes - this.#acknowledgedBytes < windowBytes) return;
    this.#acknowledgedBytes = this.#receivedBytes;
    this.#rtmp.sendACK(this.#receivedBytes % 2 ** 32);
  }

  #onOutput(bytes: Buffer): void {
    if (this.#socket.writableEnded || this.#socket.destroyed) return;
    this.#socket.write(bytes);
    if (this.#socket.writableLength > this.#limits.outputBytesMax) this.#end('output_exceeded', 'error');
  }

  #onCommand(command: RtmpCommand): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    const isBeforePublish = this.#state === 'connecting';
    if (isBeforePublish && ++this.#commandCount > this.#limits.commandsBeforePublishMax)
      throw new ConnectionError('commands_exceeded', 'too many commands before a publish');
    if (command.name === 'connect') return this.#onConnect(command);
    if (UNPUBLISH_COMMANDS.has(command.name)) return this.#onUnpublish();
    if (command.name === 'createStream') return this.#rtmp.onCreateStream({ transId: command.transactionId });
    if (command.name === 'publish') return this.#onPublish(command);
    if (command.name === 'play' || command.name === 'play2') return this.#onPlay(command);
    // releaseStream, FCPublish, _checkbw and the like ask for nothing that an encoder waits for.
    this.#deps.metrics.messagesIgnored.inc({ kind: 'command' });
  }

  #onConnect(command: RtmpCommand): void {
    if (this.#isConnected || this.#state !== 'connecting')
      throw new ConnectionError('command_out_of_order', 'connect came twice');
    const connect = readConnect(command.values[0]);
    if (connect === undefined) {
      const info = {
        level: 'error',
        code: 'NetConnection.Connect.Rejected',
        description: 'connect to rtmp://host[:port]/app',
      };
      this.#rtmp.sendInvokeMessage(0, { cmd: '_error', transId: command.transactionId, cmdObj: null, info });
      return this.#end('connect_invalid', 'error', 'linger');
    }
    this.#isConnected = true;
    this.#rtmp.onConnect({ transId: command.transactionId, cmdObj: connect });
  }

  #onPlay(command: RtmpCommand): void {
    this.#rtmp.streamId = command.streamId;
    this.#end('play_refused', 'error', {
      level: 'error',
      code: 'NetStream.Play.Failed',
      description: 'Nothing is played here; streams are played over HTTP.',
    });
  }

  #onPublish(command: RtmpCommand): void {
    if (!this.#isConnected || this.#state !== 'connecting')
      throw new ConnectionError('command_out_of_order', 'publish came before connect, or twice');
    this.#rtmp.streamId = command.streamId;
    const streamKey = readStreamName(command.values[1], this.#limits.streamNameLengthMax);
    if (streamKey === undefined)
      return this.#end('stream_name_invalid', 'error', badName('The stream key is missing or malformed.'));
    this.#streamKey = streamKey;
    this.#authorise((grant) => this.#accepted(grant));
  }

  /** Asks the origin for a session; until it answers, the peer is not read and nothing it has sent goes anywhere. */
  #authorise(accept: (grant: PublishGrant) => void): void {
    const { publishes } = this.#deps;
    const abort = new AbortController();
    this.#abort = abort;
    this.#state = 'authorising';
    this.#deadline?.cancel();
    this.#deadline = this.#deps.clock.after(this.#limits.authoriseTimeoutMs, () =>
      this.#refused(new OriginCallError('origin_timeout', 'no answer')),
    );
    this.#socket.pause();
    publishes.authorise(this.#streamKey, this.#remoteAddress, abort.signal).then(
      (grant) => {
        if (this.#state !== 'authorising' || abort.signal.aborted) return publishes.abandon(grant);
        try {
          accept(grant);
        } catch (error) {
          this.#fail(error);
        }
      },
      (error: unknown) => {
        if (this.#state === 'authorising' && !abort.signal.aborted) this.#refused(error);
      },
    );
  }

  #accepted(grant: PublishGrant): void {
    const { streamId } = this.#rtmp;
    this.#openPublish(grant);
    this.#rtmp.onPublish({ streamName: this.#streamKey });
    this.#rtmp.streamId = streamId;
    if (this.#session.broadcast.publisher !== this.#session)
      return this.#end('stream_busy', 'error', badName('This stream has a publisher.'));
    this.#rtmp.sendStatusMessage(streamId, 'status', 'NetStream.Publish.Start', 'Publishing.');
    this.#startPublishing();
  }

  /** A publisher that had fallen silent sends again, on a session of its own; the encoder notices nothing. */
  #acceptedAgain(grant: PublishGrant): void {
    this.#openPublish(grant);
    this.#startPublishing();
  }

  #openPublish(grant: PublishGrant): void {
    const revoke = (code: string): void =>
      this.#end('revoked', 'revoked', failed(`The stream was ended (${code}).`));
    this.#publish = this.#deps.publishes.open(grant, revoke, this.#publish?.headers);
  }

  #startPublishing(): void {
    this.#state = 'publishing';
    this.#lastMediaMs = undefined;
    this.#deadline?.cancel();
    this.#watchSilence(this.#limits.firstMediaTimeoutMs);
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    for (const pass of held) pass();
    this.#socket.resume();
  }

  #refused(error: unknown): void {
    const code = error instanceof OriginCallError ? error.code : 'internal_error';
    if (code === 'stream_key_unknown')
      return this.#end('stream_key_unknown', 'error', badName('No stream has this key.'));
    if (code === 'stream_busy')
      return this.#end('stream_busy', 'error', badName('This stream has a publisher.'));
    this.#deps.logger.warn({ code }, 'a publisher was refused because the origin did not judge its key');
    const reason = code === 'origin_timeout' ? 'authorise_timeout' : 'origin_unavailable';
    this.#end(reason, 'error', failed('The stream key could not be checked; try again.'));
  }

  #onMedia(track: Track, timestampMs: number, payload: Uint8Array): void {
    const arrivalUtcMs = this.#deps.clock.nowMs();
    switch (this.#state) {
      case 'publishing':
        return this.#passMedia(track, timestampMs, payload, arrivalUtcMs);
      case 'authorising':
      case 'lapsed': {
        const copy = Buffer.from(payload);
        this.#hold(copy.length, () => this.#passMedia(track, timestampMs, copy, arrivalUtcMs));
        if (this.#state === 'lapsed') this.#authorise((grant) => this.#acceptedAgain(grant));
        return;
      }
      case 'closing':
      case 'closed':
        return;
      case 'handshake':
      case 'connecting':
        throw new RtmpError('media_before_publish', 'audio or video without a publish');
    }
  }

  #passMedia(track: Track, timestampMs: number, payload: Uint8Array, arrivalUtcMs: number): void {
    if (this.#state !== 'publishing' || this.#publish === undefined) return;
    if (this.#session.broadcast.publisher !== this.#session)
      throw new ConnectionError('internal_error', 'media of a session that is not the publisher');
    if (payload.length > 0) {
      const isFirst = this.#lastMediaMs === undefined;
      this.#lastMediaMs = this.#deps.clock.monotonicMs();
      if (isFirst) this.#watchSilence(this.#limits.lostAfterMs);
    }
    this.#publish.media(track, timestampMs, payload, arrivalUtcMs);
  }

  #hold(byteCount: number, pass: () => void): void {
    this.#heldBytes += byteCount;
    if (this.#heldBytes > this.#limits.pendingBytesMax)
      throw new RtmpError('pending_bytes_exceeded', 'too much media before the publish was accepted');
    this.#held.push(pass);
  }

  #onDataMessage(values: readonly AmfValue[]): void {
    const metadata = toMetadata(values);
    if (metadata === undefined) return this.#deps.metrics.messagesIgnored.inc({ kind: 'data' });
    const pass = (): void => this.#publish?.metadata(metadata);
    if (this.#state === 'publishing') pass();
    else if (this.#state === 'authorising' || this.#state === 'lapsed') this.#hold(METADATA_COST_BYTES, pass);
  }

  #onUnpublish(): void {
    if (this.#publish === undefined) return;
    const description = 'Publishing has ended.';
    this.#end('unpublished', 'unpublished', {
      level: 'status',
      code: 'NetStream.Unpublish.Success',
      description,
    });
  }

  /** Ends the publish, or before its first frame the connection, after `limitMs` without media. */
  #watchSilence(limitMs: number): void {
    const startedMs = this.#deps.clock.monotonicMs();
    const silentMs = (): number => this.#deps.clock.monotonicMs() - (this.#lastMediaMs ?? startedMs);
    const look = (isSecondLook: boolean): void => {
      const leftMs = limitMs - silentMs();
      if (leftMs > 0) this.#deadline = this.#deps.clock.after(leftMs, () => look(false));
      else if (!isSecondLook) this.#deadline = this.#deps.clock.after(SECOND_LOOK_MS, () => look(true));
      else if (this.#lastMediaMs === undefined) this.#end('first_media_timeout', 'lost');
      else this.#lapse();
    };
    this.#deadline?.cancel();
    this.#deadline = this.#deps.clock.after(limitMs, () => look(false));
  }

  #lapse(): void {
    this.#state = 'lapsed';
    this.#publish?.end('lost');
    this.#releaseStream();
    const silentMs = this.#deps.clock.monotonicMs() - (this.#lastMediaMs ?? 0);
    this.#enter('lapsed', Math.max(0, this.#limits.silenceTimeoutMs - silentMs), 'silence');
  }

  #enter(state: State, deadlineMs: number, onDeadline: string): void {
    this.#state = state;
    this.#deadline?.cancel();
    this.#deadline = this.#deps.clock.after(deadlineMs, () => this.#end(onDeadline, 'lost'));
  }

  #fail(error: unknown): void {
    const code =
      error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
    if (!OWN_ERROR_NAMES.has(error instanceof Error ? error.name : '')) {
      this.#deps.logger.error(
        { err: error, state: this.#state },
        'a connection failed in a way nobody expected',
      );
      return this.#end('internal_error', 'error');
    }
    const { message } = error as Error;
    this.#deps.logger.debug({ code, reason: message, state: this.#state }, 'a connection was cut off');
    this.#end(code, 'error', code === 'codec_unsupported' ? failed(`Not supported: ${message}.`) : undefined);
  }

  /**
   * Ends the connection; the first cause counts.
   *
   * @param reason of the connection, for the metric
   * @param publishEnd what the publish ends with, if there is one
   * @param farewell said to the peer before; `linger` leaves it time to read what was said already
   */
  #end(reason: string, publishEnd: PublishEnd, farewell?: Farewell | 'linger'): void {
    if (this.#state === 'closed' || this.#state === 'closing') return;
    this.#state = farewell === undefined ? 'closed' : 'closing';
    this.#deadline?.cancel();
    this.#abort?.abort();
    this.#held = [];
    this.#deps.metrics.connectionsClosed.inc({ reason });
    this.#publish?.end(publishEnd);
    this.#releaseStream();
    if (farewell === undefined) return void this.#socket.destroy();
    if (farewell !== 'linger')
      this.#rtmp.sendStatusMessage(this.#rtmp.streamId, farewell.level, farewell.code, farewell.description);
    this.#deadline = this.#deps.clock.after(FAREWELL_MS, () => {
      this.#state = 'closed';
      this.#socket.destroy();
    });
    this.#socket.end();
    // What is left unread when a socket closes makes it reset, and the peer never sees the farewell.
    this.#socket.resume();
  }

  /** Frees the stream's place in node-media-server, without its grace of 30 s. */
  #releaseStream(): void {
    const { broadcast } = this.#session;
    if (broadcast.publisher === this.#session) broadcast._finishPublish();
  }
}

/** A peer that speaks RTMP but does what it must not. */
class ConnectionError extends Error {
  override readonly name = 'ConnectionError';
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** Errors that say what a peer did wrong; anything else is a mistake of ours. */
const OWN_ERROR_NAMES = new Set([
  'ConnectionError',
  'RtmpError',
  'AmfError',
  'FlvBodyError',
  'AvcConfigError',
  'AacConfigError',
  'SequencerError',
]);

function badName(description: string): Farewell {
  return { level: 'error', code: 'NetStream.Publish.BadName', description };
}

function failed(description: string): Farewell {
  return { level: 'error', code: 'NetStream.Failed', description };
}
