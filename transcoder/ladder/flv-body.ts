/** Codec ids in the first byte of FLV tag bodies. @spec Adobe Flash Video File Format 10.1 §E.4.2.1, §E.4.3.1 */
const AVC_CODEC_ID = 7;
const AAC_SOUND_FORMAT = 10;
/** Set in the first byte of a video tag by encoders that speak Enhanced RTMP. @spec Enhanced RTMP v1 */
const EX_VIDEO_TAG = 0x80;
const VIDEO_HEADER_BYTES = 5;
const AUDIO_HEADER_BYTES = 2;

/** AVCPacketType of a coded frame. */
const AVC_NALU = 1;

/** The AVC payload of a video tag body, or undefined when the codec is another one. */
export function avcPayload(flvBody: Uint8Array): Uint8Array | undefined {
  const first = flvBody[0] ?? 0;
  if ((first & EX_VIDEO_TAG) !== 0 || (first & 0x0f) !== AVC_CODEC_ID) return undefined;
  return flvBody.subarray(VIDEO_HEADER_BYTES);
}

/** Whether an AVC tag body holds a frame, not an end-of-sequence marker or nothing. */
export function isAvcFrame(flvBody: Uint8Array): boolean {
  return flvBody[1] === AVC_NALU && flvBody.length > VIDEO_HEADER_BYTES;
}

/** The AAC payload of an audio tag body, or undefined when the codec is another one. */
export function aacPayload(flvBody: Uint8Array): Uint8Array | undefined {
  if ((flvBody[0] ?? 0) >> 4 !== AAC_SOUND_FORMAT) return undefined;
  return flvBody.subarray(AUDIO_HEADER_BYTES);
}
