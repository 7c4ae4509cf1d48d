import type { Socket } from 'node:net';
import RtmpSession from 'node-media-server/src/session/rtmp_session.js';
import type { PublishGrant } from '#protocol/ingest/publish-session.ts';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import { OriginCallError } from '#transcoder/origin-client.ts';
import type { AmfValue } from './amf0-reader.ts';
import { GuardedRtmp, RtmpError, type RtmpCommand } from './guarded-rtmp.ts';
import { HeldMessages } from './held-messages.ts';
import type { PublishEnd } from './incoming-publish.ts';
import type { IngestMetrics } from './ingest-metrics.ts';
import type { IngestLimits } from './ingest-settings.ts';
import { ConnectionError, peerErrorCode } from './peer-error.ts';
import type { PublishRegistry } from './publish-registry.ts';
import type { Publish } from './publish.ts';
import { CONNECT_REJECTED, readConnect, readStreamName } from './rtmp-commands.ts';
import { FAREWELLS, revokedFarewell, unsupportedFarewell, type Farewell } from './rtmp-farewells.ts';
import { SilenceWatch } from './silence-watch.ts';
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

const FAREWELL_MS = 1_000;
const KEEP_ALIVE_PROBE_MS = 10_000;
/** What held metadata counts for: more than its limits let it be. */
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
  readonly #held: HeldMessages;
  #state: State = 'handshake';
  #deadline: Timer | undefined;
  #silence: SilenceWatch | undefined;
  /** Counts the questions to the origin; an answer to an older one finds nobody any more. */
  #questionCount = 0;
  #isConnected = false;
  #hasMedia = false;
  #commandCount = 0;
  #receivedBytes = 0;
  #acknowledgedBytes = 0;
  #streamKey = '';
  #publish: Publish | undefined;

  /** Takes over a socket that has just been accepted. */
  constructor(socket: Socket, limits: IngestLimits, deps: RtmpConnectionDeps) {
    this.#socket = socket;
    this.#limits = limits;
    this.#deps = deps;
    this.#remoteAddress = socket.remoteAddress ?? '';
    this.#held = new HeldMessages(limits.pendingBytesMax);
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
    const { onData, onClose } = session;
    session.onData = (bytes) => this.#onBytes(bytes, onData);
    session.onOutput = (bytes) => this.#onOutput(bytes);
    // Neither is reached: the guarded protocol hands nothing to them.
    session.onPlay = () => {};
    session.onPacket = () => {};
    // An error is followed by `close`, which ends everything.
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
      return this.#fail(error);
    }
    this.#acknowledge();
  }

  /** Some encoders stop when nobody acknowledges what they send. @spec RTMP 1.0 §5.4.3 */
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
    if (this.#publish === undefined && ++this.#commandCount > this.#limits.commandsBeforePublishMax)
      throw new ConnectionError('commands_exceeded', 'too many commands before a publish');
    if (command.name === 'connect') return this.#onConnect(command);
    if (UNPUBLISH_COMMANDS.has(command.name)) return this.#onUnpublish();
    if (command.name === 'createStream') return this.#rtmp.onCreateStream({ transId: command.transactionId });
    if (command.name === 'publish') return this.#onPublish(command);
    if (command.name === 'play' || command.name === 'play2') {
      this.#rtmp.streamId = command.streamId;
      return this.#end('play_refused', 'error', FAREWELLS.playRefused);
    }
    // releaseStream, FCPublish, _checkbw and the like ask for nothing that an encoder waits for.
    this.#deps.metrics.messagesIgnored.inc({ kind: 'command' });
  }

  #onConnect(command: RtmpCommand): void {
    if (this.#isConnected || this.#state !== 'connecting')
      throw new ConnectionError('command_out_of_order', 'connect came twice');
    const connect = readConnect(command.values[0]);
    if (connect === undefined) {
      this.#rtmp.sendInvokeMessage(0, { ...CONNECT_REJECTED, transId: command.transactionId });
      return this.#end('connect_invalid', 'error', 'linger');
    }
    this.#isConnected = true;
    this.#rtmp.onConnect({ transId: command.transactionId, cmdObj: connect });
  }

  #onPublish(command: RtmpCommand): void {
    if (!this.#isConnected || this.#state !== 'connecting')
      throw new ConnectionError('command_out_of_order', 'publish came before connect, or twice');
    this.#rtmp.streamId = command.streamId;
    const streamKey = readStreamName(command.values[1], this.#limits.streamNameLengthMax);
    if (streamKey === undefined)
      return this.#end('stream_name_invalid', 'error', FAREWELLS.streamNameInvalid);
    this.#streamKey = streamKey;
    this.#authorise(true);
  }

  /** Asks the origin for a session; until it answers, the peer is not read and nothing it has sent goes anywhere. */
  #authorise(isFirst: boolean): void {
    const { publishes, clock } = this.#deps;
    const question = ++this.#questionCount;
    this.#state = 'authorising';
    this.#deadline?.cancel();
    this.#deadline = clock.after(this.#limits.authoriseTimeoutMs, () =>
      this.#refused(new OriginCallError('origin_timeout', 'no answer')),
    );
    this.#socket.pause();
    // Never given up, also when the peer is gone: a session that nobody knows of would block the key.
    publishes.authorise(this.#streamKey, this.#remoteAddress).then(
      (grant) => {
        if (question !== this.#questionCount) return publishes.abandon(grant);
        try {
          this.#accepted(grant, isFirst);
        } catch (error) {
          this.#fail(error);
        }
      },
      (error: unknown) => {
        if (question === this.#questionCount) this.#refused(error);
      },
    );
  }

  /** @param isFirst false when a publisher that had fallen silent sends again: its encoder notices nothing */
  #accepted(grant: PublishGrant, isFirst: boolean): void {
    const { streamId } = this.#rtmp;
    this.#openPublish(grant);
    this.#rtmp.onPublish({ streamName: this.#streamKey });
    this.#rtmp.streamId = streamId;
    if (this.#session.broadcast.publisher !== this.#session)
      return this.#end('stream_busy', 'error', FAREWELLS.streamBusy);
    if (isFirst) this.#rtmp.sendStatusMessage(streamId, 'status', 'NetStream.Publish.Start', 'Publishing.');
    this.#startPublishing();
  }

  #openPublish(grant: PublishGrant): void {
    const revoke = (code: string): void => this.#end('revoked', 'revoked', revokedFarewell(code));
    this.#publish = this.#deps.publishes.open(grant, revoke, this.#publish?.headers);
  }

  #startPublishing(): void {
    this.#state = 'publishing';
    this.#deadline?.cancel();
    this.#hasMedia = false;
    this.#watchSilence(this.#limits.firstMediaTimeoutMs, () => this.#end('first_media_timeout', 'lost'));
    this.#held.release();
    this.#socket.resume();
  }

  #refused(error: unknown): void {
    const code = error instanceof OriginCallError ? error.code : 'internal_error';
    if (code === 'stream_key_unknown')
      return this.#end('stream_key_unknown', 'error', FAREWELLS.streamKeyUnknown);
    if (code === 'stream_busy') return this.#end('stream_busy', 'error', FAREWELLS.streamBusy);
    this.#deps.logger.warn({ code }, 'a publisher was refused because the origin did not judge its key');
    const reason = code === 'origin_timeout' ? 'authorise_timeout' : 'origin_unavailable';
    this.#end(reason, 'error', FAREWELLS.originUnavailable);
  }

  #onMedia(track: Track, timestampMs: number, payload: Uint8Array): void {
    const arrivalUtcMs = this.#deps.clock.nowMs();
    switch (this.#state) {
      case 'publishing':
        return this.#passMedia(track, timestampMs, payload, arrivalUtcMs);
      case 'authorising':
      case 'lapsed': {
        const copy = Buffer.from(payload);
        this.#held.hold(copy.length, () => this.#passMedia(track, timestampMs, copy, arrivalUtcMs));
        if (this.#state === 'lapsed') this.#authorise(false);
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
    // The second look at who is the publisher: the state says so, and node-media-server must say so too.
    if (this.#state !== 'publishing' || this.#session.broadcast.publisher !== this.#session) return;
    if (payload.length > 0 && !this.#hasMedia) {
      this.#hasMedia = true;
      this.#watchSilence(this.#limits.lostAfterMs, () => this.#lapse());
    } else if (payload.length > 0) this.#silence?.heard();
    this.#publish?.media(track, timestampMs, payload, arrivalUtcMs);
  }

  #onDataMessage(values: readonly AmfValue[]): void {
    const metadata = toMetadata(values);
    if (metadata === undefined) return this.#deps.metrics.messagesIgnored.inc({ kind: 'data' });
    const pass = (): void => this.#publish?.metadata(metadata);
    if (this.#state === 'publishing') pass();
    else if (this.#state === 'authorising') this.#held.hold(METADATA_COST_BYTES, pass);
  }

  #onUnpublish(): void {
    if (this.#publish !== undefined) this.#end('unpublished', 'unpublished', FAREWELLS.unpublished);
  }

  #watchSilence(limitMs: number, onSilent: () => void): void {
    this.#silence?.stop();
    this.#silence = new SilenceWatch(this.#deps.clock, limitMs, onSilent);
  }

  /** Frees the key of a publisher that has fallen silent; its connection stays a while, in case it comes back. */
  #lapse(): void {
    const silentMs = this.#deps.clock.monotonicMs() - (this.#silence?.heardMs ?? 0);
    this.#publish?.end('lost');
    this.#releaseStream();
    this.#enter('lapsed', Math.max(0, this.#limits.silenceTimeoutMs - silentMs), 'silence');
  }

  #enter(state: State, deadlineMs: number, onDeadline: string): void {
    this.#state = state;
    this.#deadline?.cancel();
    this.#deadline = this.#deps.clock.after(deadlineMs, () => this.#end(onDeadline, 'lost'));
  }

  #fail(error: unknown): void {
    const code = peerErrorCode(error);
    if (code === undefined) {
      this.#deps.logger.error(
        { err: error, state: this.#state },
        'a connection failed in a way nobody expected',
      );
      return this.#end('internal_error', 'error');
    }
    const { message } = error as Error;
    this.#deps.logger.debug({ code, reason: message, state: this.#state }, 'a connection was cut off');
    this.#end(code, 'error', code === 'codec_unsupported' ? unsupportedFarewell(message) : undefined);
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
    this.#silence?.stop();
    this.#questionCount++;
    this.#held.clear();
    this.#deps.metrics.connectionsClosed.inc({ reason });
    this.#publish?.end(publishEnd);
    this.#releaseStream();
    if (farewell === undefined) return void this.#socket.destroy();
    if (farewell !== 'linger')
      this.#rtmp.sendStatusMessage(this.#rtmp.streamId, farewell.level, farewell.code, farewell.description);
    this.#deadline = this.#deps.clock.after(FAREWELL_MS, () => this.#socket.destroy());
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
