/** What the body of an RTMP audio or video message is, brought to the legacy FLV form. */
export type FlvBody =
  | {
      readonly kind: 'video';
      readonly what: 'header' | 'frame';
      readonly keyframe: boolean;
      readonly compositionOffsetMs: number;
      /** Legacy FLV video tag body: five bytes, then the configuration record or the NAL units. */
      readonly body: Uint8Array;
    }
  | {
      readonly kind: 'audio';
      readonly what: 'header' | 'frame';
      /** Legacy FLV audio tag body: two bytes, then the AudioSpecificConfig or the raw frame. */
      readonly body: Uint8Array;
    }
  /** Says nothing that a decoder needs: empty messages, end of sequence, info frames, colour metadata. */
  | { readonly kind: 'ignored' };

/** Media that is not H.264 or AAC, or not media at all. */
export class FlvBodyError extends Error {
  override readonly name = 'FlvBodyError';
  readonly code: 'codec_unsupported' | 'media_malformed';

  constructor(code: 'codec_unsupported' | 'media_malformed', message: string) {
    super(message);
    this.code = code;
  }
}

/** Bytes before the payload of a legacy tag body. */
export const VIDEO_BODY_HEADER_BYTES = 5;
export const AUDIO_BODY_HEADER_BYTES = 2;

const IGNORED: FlvBody = { kind: 'ignored' };
const CODEC_AVC = 7;
const FRAME_KEY = 1;
const FRAME_INFO = 5;
const SOUND_AAC = 10;
const SOUND_EX_HEADER = 9;
/** AAC, 44 kHz, 16 bit, stereo: the only flags that the specification allows for AAC, whatever the real sound is. */
const AAC_FLAGS = 0xaf;
const FOURCC_AVC = 'avc1';
const FOURCC_AAC = 'mp4a';

/** Packet types of the legacy AVC and AAC bodies. @spec Adobe FLV 10.1 §E.4.3.1, §E.4.2.1 */
const LEGACY_HEADER = 0;
const LEGACY_FRAME = 1;
const LEGACY_END = 2;

/** Packet types behind an extended header. @spec Enhanced RTMP v2, ExVideoTagHeader and ExAudioTagHeader */
const EX_SEQUENCE_START = 0;
const EX_CODED_FRAMES = 1;
const EX_SEQUENCE_END = 2;
const EX_METADATA = 4;

/**
 * Says what a video message is.
 *
 * @param body is not copied unless it has to be rewritten
 * @throws {FlvBodyError} for another codec than H.264 (also behind an extended header), or a body cut short
 */
export function classifyVideo(body: Uint8Array): FlvBody {
  const first = body[0];
  if (first === undefined) return IGNORED;
  if ((first & 0x80) !== 0) return classifyExtendedVideo(body, first);
  if (first >> 4 === FRAME_INFO) return IGNORED;
  if ((first & 0x0f) !== CODEC_AVC)
    throw new FlvBodyError('codec_unsupported', `video codec ${first & 0x0f}; send H.264`);
  const packetType = body[1];
  if (packetType === LEGACY_END) return IGNORED;
  const isEmpty = body.length === VIDEO_BODY_HEADER_BYTES;
  if (isEmpty && packetType === LEGACY_FRAME) return IGNORED;
  if (isEmpty || body.length < VIDEO_BODY_HEADER_BYTES)
    throw new FlvBodyError('media_malformed', `video message of ${body.length} bytes`);
  const compositionOffsetMs = signed24(body, 2);
  if (packetType === LEGACY_HEADER)
    return { kind: 'video', what: 'header', keyframe: false, compositionOffsetMs: 0, body };
  if (packetType === LEGACY_FRAME)
    return { kind: 'video', what: 'frame', keyframe: first >> 4 === FRAME_KEY, compositionOffsetMs, body };
  throw new FlvBodyError('media_malformed', `AVC packet type ${packetType}`);
}

function classifyExtendedVideo(body: Uint8Array, first: number): FlvBody {
  const packetType = first & 0x0f;
  const frameType = (first >> 4) & 0x07;
  if (body.length < 5) throw new FlvBodyError('media_malformed', 'extended video header cut short');
  if (packetType > EX_METADATA)
    throw new FlvBodyError(
      'codec_unsupported',
      `extended video packet type ${packetType}; send one H.264 track`,
    );
  const fourCc = Buffer.from(body.subarray(1, 5)).toString('latin1');
  if (fourCc !== FOURCC_AVC)
    throw new FlvBodyError('codec_unsupported', `video codec ${printable(fourCc)}; send H.264`);
  if (packetType === EX_SEQUENCE_END || packetType === EX_METADATA || frameType === FRAME_INFO)
    return IGNORED;
  const offsetBytes = packetType === EX_CODED_FRAMES ? 3 : 0;
  const payload = body.subarray(5 + offsetBytes);
  if (payload.length === 0)
    throw new FlvBodyError('media_malformed', 'extended video message without payload');
  const keyframe = frameType === FRAME_KEY;
  if (packetType === EX_SEQUENCE_START) {
    const rewritten = legacyVideo(FRAME_KEY, LEGACY_HEADER, [0, 0, 0], payload);
    return { kind: 'video', what: 'header', keyframe: false, compositionOffsetMs: 0, body: rewritten };
  }
  const offset = packetType === EX_CODED_FRAMES ? [...body.subarray(5, 8)] : [0, 0, 0];
  const rewritten = legacyVideo(frameType, LEGACY_FRAME, offset, payload);
  return {
    kind: 'video',
    what: 'frame',
    keyframe,
    compositionOffsetMs: signed24(rewritten, 2),
    body: rewritten,
  };
}

/**
 * Says what an audio message is.
 *
 * @param body is not copied unless it has to be rewritten
 * @throws {FlvBodyError} for another codec than AAC, or a body cut short
 */
export function classifyAudio(body: Uint8Array): FlvBody {
  const first = body[0];
  // Some encoders send empty audio messages as a pulse.
  if (first === undefined) return IGNORED;
  const soundFormat = first >> 4;
  if (soundFormat === SOUND_EX_HEADER) return classifyExtendedAudio(body, first);
  if (soundFormat !== SOUND_AAC)
    throw new FlvBodyError('codec_unsupported', `audio codec ${soundFormat}; send AAC`);
  const packetType = body[1];
  if (packetType === undefined) throw new FlvBodyError('media_malformed', 'audio message of one byte');
  if (body.length === AUDIO_BODY_HEADER_BYTES) return IGNORED;
  if (packetType === LEGACY_HEADER) return { kind: 'audio', what: 'header', body };
  if (packetType === LEGACY_FRAME) return { kind: 'audio', what: 'frame', body };
  throw new FlvBodyError('media_malformed', `AAC packet type ${packetType}`);
}

function classifyExtendedAudio(body: Uint8Array, first: number): FlvBody {
  const packetType = first & 0x0f;
  if (body.length < 5) throw new FlvBodyError('media_malformed', 'extended audio header cut short');
  if (packetType > EX_METADATA)
    throw new FlvBodyError(
      'codec_unsupported',
      `extended audio packet type ${packetType}; send one AAC track`,
    );
  const fourCc = Buffer.from(body.subarray(1, 5)).toString('latin1');
  if (fourCc !== FOURCC_AAC)
    throw new FlvBodyError('codec_unsupported', `audio codec ${printable(fourCc)}; send AAC`);
  const payload = body.subarray(5);
  if (packetType > EX_CODED_FRAMES || payload.length === 0) return IGNORED;
  const isHeader = packetType === EX_SEQUENCE_START;
  const rewritten = Buffer.concat([
    Buffer.from([AAC_FLAGS, isHeader ? LEGACY_HEADER : LEGACY_FRAME]),
    payload,
  ]);
  return { kind: 'audio', what: isHeader ? 'header' : 'frame', body: rewritten };
}

function legacyVideo(
  frameType: number,
  packetType: number,
  offset: readonly number[],
  payload: Uint8Array,
): Uint8Array {
  return Buffer.concat([Buffer.from([(frameType << 4) | CODEC_AVC, packetType, ...offset]), payload]);
}

function signed24(bytes: Uint8Array, offset: number): number {
  const value = ((bytes[offset] ?? 0) << 16) | ((bytes[offset + 1] ?? 0) << 8) | (bytes[offset + 2] ?? 0);
  return value >= 0x800000 ? value - 0x1000000 : value;
}

/** A codec name from a stranger, fit for a log line. */
function printable(fourCc: string): string {
  return fourCc.replaceAll(/[^A-Za-z0-9. -]/g, '?');
}
