/**
 * Writes FLV for an encoder's standard input. @spec Adobe Flash Video File Format 10.1 §E
 */

/** Tag types of audio and video. */
export const FLV_TAG = { audio: 8, video: 9 } as const;

/** Largest timestamp of a tag that every reader takes for positive. */
export const FLV_TIMESTAMP_MAX_MS = 2 ** 31 - 1;

const TAG_HEADER_BYTES = 11;
const PREVIOUS_SIZE_BYTES = 4;

/** The file header, with exactly the tracks that will come: a reader waits for what is announced. */
export function flvHeader(tracks: {
  readonly video: boolean;
  readonly audio: boolean;
}): Uint8Array<ArrayBuffer> {
  const flags = (tracks.audio ? 4 : 0) | (tracks.video ? 1 : 0);
  return Uint8Array.of(0x46, 0x4c, 0x56, 1, flags, 0, 0, 0, 9, 0, 0, 0, 0);
}

/**
 * One tag with its trailing size.
 *
 * @param timestampMs 0 to {@link FLV_TIMESTAMP_MAX_MS}
 * @throws {RangeError} when the timestamp or the body is out of range
 */
export function flvTag(
  type: (typeof FLV_TAG)[keyof typeof FLV_TAG],
  timestampMs: number,
  body: Uint8Array,
): Uint8Array<ArrayBuffer> {
  if (!Number.isInteger(timestampMs) || timestampMs < 0 || timestampMs > FLV_TIMESTAMP_MAX_MS)
    throw new RangeError(`an FLV tag cannot say ${timestampMs} ms`);
  if (body.length > 0xff_ffff) throw new RangeError(`an FLV tag cannot hold ${body.length} bytes`);
  const bytes = new Uint8Array(TAG_HEADER_BYTES + body.length + PREVIOUS_SIZE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  bytes[0] = type;
  view.setUint32(4, (timestampMs & 0xff_ffff) << 8);
  bytes[7] = timestampMs >>> 24;
  bytes.set(body, TAG_HEADER_BYTES);
  view.setUint32(TAG_HEADER_BYTES + body.length, TAG_HEADER_BYTES + body.length);
  return bytes;
}
