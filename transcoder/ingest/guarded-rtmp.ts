import Rtmp from 'node-media-server/src/protocol/rtmp.js';
import { readAmf0, type AmfValue } from './amf0-reader.ts';
import type { IngestLimits } from './ingest-settings.ts';
import type { Track } from './timeline.ts';

export type RtmpErrorCode =
  | 'handshake_invalid'
  | 'chunk_header_invalid'
  | 'chunk_streams_exceeded'
  | 'chunk_size_invalid'
  | 'message_too_long'
  | 'message_too_short'
  | 'pending_bytes_exceeded'
  | 'media_before_publish'
  | 'command_invalid';

/** A peer that does not speak RTMP, or more of it than we take. It costs the peer its connection. */
export class RtmpError extends Error {
  override readonly name = 'RtmpError';
  readonly code: RtmpErrorCode;

  constructor(code: RtmpErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** A command message, decoded. */
export type RtmpCommand = {
  readonly name: string;
  readonly transactionId: number;
  /** What follows the transaction id: the command object, then the arguments. */
  readonly values: readonly AmfValue[];
  /** The message stream that it came on. */
  readonly streamId: number;
};

/** What a {@link GuardedRtmp} tells its connection. Payloads are views that live for the call only. */
export type RtmpHandler = {
  /** Whether audio and video are expected now; before a publish is asked for they are refused. */
  mayReceiveMedia(): boolean;
  onHandshakeDone(): void;
  onCommand(command: RtmpCommand): void;
  onMedia(track: Track, timestampMs: number, payload: Uint8Array): void;
  /** A data message, decoded. */
  onData(values: readonly AmfValue[]): void;
  /** A message that has no meaning for us. */
  onIgnored(kind: 'unknown_type' | 'control'): void;
};

const RTMP_VERSION = 3;
const HANDSHAKE_DONE = 3;
const CHUNK_TYPE_FULL = 0;
const CHUNK_TYPE_SAME_STREAM = 1;
const PAYLOAD_SPARE_BYTES = 1_024;
const TIMESTAMP_WRAP = 2 ** 32;

const SET_CHUNK_SIZE = 1;
const ABORT = 2;
const WINDOW_ACKNOWLEDGEMENT_SIZE = 5;
const AUDIO = 8;
const VIDEO = 9;
const DATA_AMF3 = 15;
const COMMAND_AMF3 = 17;
const DATA_AMF0 = 18;
const COMMAND_AMF0 = 20;
const CONTROL_TYPES = new Set([1, 2, 3, 4, 5, 6]);

/**
 * The RTMP protocol of node-media-server with every byte of a peer checked before the library acts on it: what a header
 * says is checked before memory is taken for it, and messages never reach the library's own handlers, which end the
 * process on bad input. Everything throws {@link RtmpError} or AmfError; the connection is then of no use any more.
 */
export class GuardedRtmp extends Rtmp {
  readonly #limits: IngestLimits;
  readonly #handler: RtmpHandler;
  #claimedBytes = 0;
  #isHandshakeAnnounced = false;

  constructor(limits: IngestLimits, handler: RtmpHandler) {
    super();
    this.#limits = limits;
    this.#handler = handler;
  }

  /** Memory that the messages of this connection may fill. */
  get claimedBytes(): number {
    return this.#claimedBytes;
  }

  /** @throws {RtmpError} {@link AmfError} */
  override parserData(bytes: Buffer): string | null {
    // The library takes any first byte; there is only one version. @spec RTMP 1.0 §5.2.2
    if (this.handshakeState === 0 && bytes.length > 0 && bytes[0] !== RTMP_VERSION)
      throw new RtmpError('handshake_invalid', `version ${bytes[0]}`);
    const problem = super.parserData(bytes);
    if (problem !== null) throw new RtmpError('chunk_header_invalid', problem);
    if (this.handshakeState === HANDSHAKE_DONE) this.#announceHandshake();
    return null;
  }

  /** Begins or continues a chunk. Replaces the library's: it takes any header and confuses large chunk stream ids. */
  override packetParse(): void {
    this.#announceHandshake();
    const format = (this.parserBuffer[0] ?? 0) >> 6;
    const id = this.#chunkStreamId();
    const known = this.inPackets.get(id);
    if (known === undefined) {
      if (format > CHUNK_TYPE_SAME_STREAM)
        throw new RtmpError(
          'chunk_header_invalid',
          `chunk stream ${id} begins with a header of type ${format}`,
        );
      if (this.inPackets.size >= this.#limits.chunkStreamsMax)
        throw new RtmpError(
          'chunk_streams_exceeded',
          `more than ${this.#limits.chunkStreamsMax} chunk streams`,
        );
    }
    const stream = known ?? newChunkStream(id);
    this.inPackets.set(id, stream);
    const { length, type } = stream.header;
    this.parserPacket = stream;
    stream.header.fmt = format;
    this.chunkMessageHeaderRead();
    // Within a message a header may only repeat what the message began with.
    if (stream.bytes > 0 && (stream.header.length !== length || stream.header.type !== type))
      throw new RtmpError('chunk_header_invalid', 'a message changed its length or type before it was whole');
  }

  /** Begins a message: its header is complete, no memory is taken yet. */
  override packetAlloc(): void {
    const stream = this.parserPacket;
    const { length, type } = stream.header;
    // The library adds deltas without end and drops what is over 32 bits. @spec RTMP 1.0 §5.3.1.1
    stream.clock %= TIMESTAMP_WRAP;
    const isMedia = type === AUDIO || type === VIDEO;
    const mayReceiveMedia = this.#handler.mayReceiveMedia();
    if (isMedia && !mayReceiveMedia)
      throw new RtmpError('media_before_publish', 'audio or video without a publish');
    const lengthMax = isMedia ? this.#limits.mediaMessageBytesMax : this.#limits.commandMessageBytesMax;
    if (length > lengthMax)
      throw new RtmpError('message_too_long', `type ${type}: ${length} bytes, at most ${lengthMax}`);
    if (stream.capacity < length) {
      const claimed = this.#claimedBytes - stream.capacity + length + PAYLOAD_SPARE_BYTES;
      const claimedMax = mayReceiveMedia
        ? this.#limits.pendingBytesMax
        : this.#limits.pendingBytesBeforePublishMax;
      if (claimed > claimedMax)
        throw new RtmpError('pending_bytes_exceeded', `${claimed} bytes of messages, at most ${claimedMax}`);
      this.#claimedBytes = claimed;
    }
    super.packetAlloc();
  }

  /** Handles a whole message. */
  override packetHandler(): void {
    const { header, clock, payload: buffer } = this.parserPacket;
    const payload = buffer.subarray(0, header.length);
    switch (header.type) {
      case AUDIO:
        return this.#handler.onMedia('audio', clock, payload);
      case VIDEO:
        return this.#handler.onMedia('video', clock, payload);
      case COMMAND_AMF0:
      case COMMAND_AMF3:
        return this.#command(payload, header.stream_id);
      case DATA_AMF0:
      case DATA_AMF3:
        return this.#handler.onData(readAmf0(withoutAmf3Marker(payload, header.type), this.#limits));
      default:
        if (CONTROL_TYPES.has(header.type)) return this.#control(header.type, payload);
        return this.#handler.onIgnored('unknown_type');
    }
  }

  /** The answer that the library gives before anybody was asked; the connection gives its own. */
  override respondPublish(): void {}

  /** The end of the handshake and the first chunk may come in one piece: whoever sees it first says so. */
  #announceHandshake(): void {
    if (this.#isHandshakeAnnounced) return;
    this.#isHandshakeAnnounced = true;
    this.#handler.onHandshakeDone();
  }

  /** @spec RTMP 1.0 §5.3.1.1 */
  #chunkStreamId(): number {
    const [first = 0, second = 0, third = 0] = this.parserBuffer;
    if (this.parserBasicBytes === 3) return 64 + second + third * 256;
    if (this.parserBasicBytes === 2) return 64 + second;
    return first & 0x3f;
  }

  #control(type: number, payload: Buffer): void {
    switch (type) {
      case SET_CHUNK_SIZE:
        return this.#setChunkSize(controlValue(payload));
      case ABORT: {
        const aborted = this.inPackets.get(controlValue(payload));
        if (aborted !== undefined) aborted.bytes = 0;
        return;
      }
      case WINDOW_ACKNOWLEDGEMENT_SIZE:
        this.ackSize = controlValue(payload);
        return;
      default:
        return this.#handler.onIgnored('control');
    }
  }

  #setChunkSize(size: number): void {
    const { chunkSizeMin, chunkSizeMax } = this.#limits;
    if (size < chunkSizeMin || size > chunkSizeMax)
      throw new RtmpError(
        'chunk_size_invalid',
        `chunk size ${size}, allowed are ${chunkSizeMin} to ${chunkSizeMax}`,
      );
    // The library finds its place within a chunk from the size, so it must not change while a message is half in.
    for (const stream of this.inPackets.values())
      if (stream.bytes > 0)
        throw new RtmpError('chunk_size_invalid', 'the chunk size changed within a message');
    this.inChunkSize = size;
  }

  #command(payload: Buffer, streamId: number): void {
    const type = this.parserPacket.header.type;
    const [name, transactionId, ...values] = readAmf0(withoutAmf3Marker(payload, type), this.#limits);
    if (typeof name !== 'string') throw new RtmpError('command_invalid', 'a command without a name');
    const isNumber = typeof transactionId === 'number' && Number.isFinite(transactionId);
    this.#handler.onCommand({ name, transactionId: isNumber ? transactionId : 0, values, streamId });
  }
}

function newChunkStream(id: number): Rtmp.ChunkStream {
  return {
    header: { fmt: CHUNK_TYPE_FULL, cid: id, timestamp: 0, length: 0, type: 0, stream_id: 0 },
    clock: 0,
    payload: Buffer.alloc(0),
    capacity: 0,
    bytes: 0,
  };
}

/** AMF3 messages of encoders are AMF0 behind a zero byte. @spec RTMP 1.0 §7.1.1 */
function withoutAmf3Marker(payload: Buffer, type: number): Buffer {
  return (type === COMMAND_AMF3 || type === DATA_AMF3) && payload[0] === 0 ? payload.subarray(1) : payload;
}

/** The number of a protocol control message. @spec RTMP 1.0 §5.4 */
function controlValue(payload: Buffer): number {
  if (payload.length < 4)
    throw new RtmpError('message_too_short', `control message of ${payload.length} bytes`);
  return payload.readUInt32BE(0);
}
