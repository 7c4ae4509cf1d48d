/** An AAC sequence header that no decoder could use. */
export class AacConfigError extends Error {
  override readonly name = 'AacConfigError';
  readonly code = 'media_malformed';
}

const OBJECT_TYPE_ESCAPE = 31;
/** Explicit sampling frequency: 24 more bits follow the index. */
const FREQUENCY_INDEX_ESCAPE = 15;

/**
 * The RFC 6381 name of the audio that an AudioSpecificConfig describes, e.g. `mp4a.40.2`.
 *
 * @throws {AacConfigError} when it is cut short or names no sampling frequency
 * @spec ISO/IEC 14496-3 §1.6.2.1
 */
export function aacCodec(config: Uint8Array): string {
  const [first, second] = config;
  if (first === undefined || second === undefined) throw new AacConfigError('the audio header is cut short');
  const shortType = first >> 3;
  if (shortType === 0) throw new AacConfigError('the audio header names no object type');
  if (shortType === OBJECT_TYPE_ESCAPE) return `mp4a.40.${32 + (((first & 7) << 3) | (second >> 5))}`;
  const frequencyIndex = ((first & 7) << 1) | (second >> 7);
  if (
    frequencyIndex === 13 ||
    frequencyIndex === 14 ||
    (frequencyIndex === FREQUENCY_INDEX_ESCAPE && config.length < 5)
  )
    throw new AacConfigError('the audio header names no sampling frequency');
  return `mp4a.40.${shortType}`;
}
