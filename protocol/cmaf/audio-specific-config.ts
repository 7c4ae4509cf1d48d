import { BitReader } from '#protocol/cmaf/bit-reader.ts';
import { CmafError } from '#protocol/cmaf/cmaf-error.ts';

/** What an AudioSpecificConfig says. */
export type AudioSpecificConfig = {
  /** 2 is AAC-LC. @spec ISO/IEC 14496-3 §1.5.1.1 */
  readonly objectType: number;
  readonly sampleRateHz: number;
  /** 0 when the stream itself says it. */
  readonly channels: number;
};

const SAMPLE_RATES_HZ = [
  96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
] as const;

/** @throws {CmafError} when the bytes are too short or use reserved values. @spec ISO/IEC 14496-3 §1.6.2.1 */
export function parseAudioSpecificConfig(bytes: Uint8Array): AudioSpecificConfig {
  const reader = new BitReader(bytes);
  const objectType = readObjectType(reader);
  const sampleRateHz = readSampleRate(reader);
  const configuration = reader.bits(4);
  if (configuration > 7) throw new CmafError('box_content_invalid', 'the channel configuration is reserved');
  return { objectType, sampleRateHz, channels: configuration === 7 ? 8 : configuration };
}

function readObjectType(reader: BitReader): number {
  const objectType = reader.bits(5);
  return objectType === 31 ? 32 + reader.bits(6) : objectType;
}

function readSampleRate(reader: BitReader): number {
  const index = reader.bits(4);
  if (index === 15) return reader.bits(24);
  const rate = SAMPLE_RATES_HZ[index];
  if (rate === undefined) throw new CmafError('box_content_invalid', 'the sampling rate index is reserved');
  return rate;
}
