import type { IngestPacket, PublishEnd } from './incoming-publish.ts';

/**
 * How packets travel from the ingest to a worker: frames of a 32-bit length, a type byte and a body, over any ordered
 * byte stream. The worker asks with one `subscribe`; the ingest answers with packets and, last, `end` or `error`.
 *
 * Numbers are big-endian; times are 64-bit floats in ms.
 */
export type RelayFrame =
  | { readonly type: 'subscribe'; readonly sessionId: string }
  | { readonly type: 'packet'; readonly packet: IngestPacket }
  | { readonly type: 'end'; readonly reason: PublishEnd }
  | { readonly type: 'error'; readonly code: RelayErrorCode };

/** Why an ingest does not, or no longer, serve a reader. */
export type RelayErrorCode = 'session_unknown' | 'reader_too_slow' | 'readers_exceeded';

/** Bytes that are no relay frames. */
export class RelayFrameError extends Error {
  readonly code = 'relay_frame_invalid';
  override readonly name = 'RelayFrameError';
}

/** Longest frame after its length: the longest media message that a setting allows, and its header. */
export const RELAY_FRAME_BYTES_MAX = 16 * 1024 * 1024 + 64;
/** Longest frame that a reader may send. */
export const RELAY_REQUEST_BYTES_MAX = 256;

const LENGTH_BYTES = 4;
const TYPE = { subscribe: 1, video: 2, audio: 3, metadata: 4, break: 5, end: 6, error: 7 } as const;
const FLAG_SEQUENCE_HEADER = 1;
const FLAG_KEYFRAME = 2;
const VIDEO_FIXED_BYTES = 1 + 8 + 8 + 4;
const AUDIO_FIXED_BYTES = 1 + 8 + 8;

/** One frame as bytes. */
export function encodeRelayFrame(frame: RelayFrame): Buffer {
  switch (frame.type) {
    case 'subscribe':
      return textFrame(TYPE.subscribe, frame.sessionId);
    case 'end':
      return textFrame(TYPE.end, frame.reason);
    case 'error':
      return textFrame(TYPE.error, frame.code);
    case 'packet':
      return encodePacket(frame.packet);
  }
}

function encodePacket(packet: IngestPacket): Buffer {
  switch (packet.kind) {
    case 'metadata':
      return textFrame(TYPE.metadata, JSON.stringify(packet.values));
    case 'break':
      return textFrame(TYPE.break, packet.reason);
    case 'video': {
      const frame = emptyFrame(TYPE.video, VIDEO_FIXED_BYTES + packet.flvBody.length);
      const flags =
        (packet.sequenceHeader ? FLAG_SEQUENCE_HEADER : 0) | (packet.keyframe ? FLAG_KEYFRAME : 0);
      let offset = frame.writeUInt8(flags, LENGTH_BYTES + 1);
      offset = frame.writeDoubleBE(packet.dtsMs, offset);
      offset = frame.writeDoubleBE(packet.arrivalUtcMs, offset);
      offset = frame.writeInt32BE(packet.compositionOffsetMs, offset);
      frame.set(packet.flvBody, offset);
      return frame;
    }
    case 'audio': {
      const frame = emptyFrame(TYPE.audio, AUDIO_FIXED_BYTES + packet.flvBody.length);
      let offset = frame.writeUInt8(packet.sequenceHeader ? FLAG_SEQUENCE_HEADER : 0, LENGTH_BYTES + 1);
      offset = frame.writeDoubleBE(packet.dtsMs, offset);
      offset = frame.writeDoubleBE(packet.arrivalUtcMs, offset);
      frame.set(packet.flvBody, offset);
      return frame;
    }
  }
}

function emptyFrame(type: number, bodyBytes: number): Buffer {
  const frame = Buffer.allocUnsafeSlow(LENGTH_BYTES + 1 + bodyBytes);
  frame.writeUInt8(type, frame.writeUInt32BE(1 + bodyBytes, 0));
  return frame;
}

function textFrame(type: number, text: string): Buffer {
  const body = Buffer.from(text, 'utf8');
  const frame = emptyFrame(type, body.length);
  frame.set(body, LENGTH_BYTES + 1);
  return frame;
}

/** Makes frames of bytes that come in any pieces. Holds one unfinished frame of at most `frameBytesMax`. */
export class RelayFrameDecoder {
  readonly #frameBytesMax: number;
  readonly #length = Buffer.alloc(LENGTH_BYTES);
  #lengthBytes = 0;
  #frame: Buffer | undefined;
  #frameBytes = 0;

  constructor(frameBytesMax: number = RELAY_FRAME_BYTES_MAX) {
    this.#frameBytesMax = frameBytesMax;
  }

  /** Whether the bytes so far end in the middle of a frame. */
  get isInsideFrame(): boolean {
    return this.#lengthBytes > 0;
  }

  /**
   * The frames that `chunk` completes. They do not share memory with it.
   *
   * @throws {RelayFrameError} for a frame that is too long or makes no sense; the decoder is of no use afterwards
   */
  *push(chunk: Uint8Array): Generator<RelayFrame, void, undefined> {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#frame === undefined) {
        this.#length[this.#lengthBytes++] = chunk[offset++] ?? 0;
        if (this.#lengthBytes < LENGTH_BYTES) continue;
        const length = this.#length.readUInt32BE(0);
        if (length === 0 || length > this.#frameBytesMax)
          throw new RelayFrameError(`a frame of ${length} bytes, at most ${this.#frameBytesMax} are allowed`);
        this.#frame = Buffer.allocUnsafeSlow(length);
        this.#frameBytes = 0;
        continue;
      }
      const piece = chunk.subarray(offset, offset + this.#frame.length - this.#frameBytes);
      this.#frame.set(piece, this.#frameBytes);
      this.#frameBytes += piece.length;
      offset += piece.length;
      if (this.#frameBytes < this.#frame.length) continue;
      const frame = this.#frame;
      this.#frame = undefined;
      this.#lengthBytes = 0;
      yield decodeFrame(frame);
    }
  }
}

function decodeFrame(frame: Buffer): RelayFrame {
  const body = frame.subarray(1);
  switch (frame.readUInt8(0)) {
    case TYPE.subscribe:
      return { type: 'subscribe', sessionId: body.toString('utf8') };
    case TYPE.end:
      return { type: 'end', reason: word(body, ['unpublished', 'lost', 'revoked', 'error']) };
    case TYPE.error:
      return { type: 'error', code: word(body, ['session_unknown', 'reader_too_slow', 'readers_exceeded']) };
    case TYPE.break:
      return packetFrame({ kind: 'break', reason: word(body, ['timestamp_jump', 'codec_change']) });
    case TYPE.metadata:
      return packetFrame({ kind: 'metadata', values: metadataValues(body.toString('utf8')) });
    case TYPE.video: {
      if (body.length < VIDEO_FIXED_BYTES) throw new RelayFrameError('a video frame cut short');
      const flags = body.readUInt8(0);
      return packetFrame({
        kind: 'video',
        sequenceHeader: (flags & FLAG_SEQUENCE_HEADER) !== 0,
        keyframe: (flags & FLAG_KEYFRAME) !== 0,
        dtsMs: body.readDoubleBE(1),
        arrivalUtcMs: body.readDoubleBE(9),
        compositionOffsetMs: body.readInt32BE(17),
        flvBody: body.subarray(VIDEO_FIXED_BYTES),
      });
    }
    case TYPE.audio: {
      if (body.length < AUDIO_FIXED_BYTES) throw new RelayFrameError('an audio frame cut short');
      return packetFrame({
        kind: 'audio',
        sequenceHeader: (body.readUInt8(0) & FLAG_SEQUENCE_HEADER) !== 0,
        dtsMs: body.readDoubleBE(1),
        arrivalUtcMs: body.readDoubleBE(9),
        flvBody: body.subarray(AUDIO_FIXED_BYTES),
      });
    }
    default:
      throw new RelayFrameError(`a frame of unknown type ${frame[0]}`);
  }
}

function packetFrame(packet: IngestPacket): RelayFrame {
  return { type: 'packet', packet };
}

function word<const Words extends readonly string[]>(body: Buffer, words: Words): Words[number] {
  const text = body.toString('utf8');
  const known = words.find((candidate) => candidate === text);
  if (known === undefined) throw new RelayFrameError('a frame with an unknown word');
  return known;
}

function metadataValues(text: string): Record<string, number | string | boolean> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new RelayFrameError('metadata that is not JSON', { cause: error });
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new RelayFrameError('metadata that is not an object');
  const isPlain = Object.values(parsed).every((value) =>
    ['number', 'string', 'boolean'].includes(typeof value),
  );
  if (!isPlain) throw new RelayFrameError('metadata with a value that is not plain');
  return parsed as Record<string, number | string | boolean>;
}
