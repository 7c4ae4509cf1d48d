import { BitReader } from '#protocol/cmaf/bit-reader.ts';
import { CmafError } from '#protocol/cmaf/cmaf-error.ts';
import type { FrameRate } from '#protocol/ingest/publish-session.ts';

/** What an AVCDecoderConfigurationRecord and the sequence parameter set in it say. */
export type AvcConfiguration = {
  readonly profileIdc: number;
  readonly constraintFlags: number;
  readonly levelIdc: number;
  /** Coded picture without its cropped edges, in samples. */
  readonly width: number;
  readonly height: number;
  /** Width of a sample divided by its height. */
  readonly sampleAspect: { readonly numerator: number; readonly denominator: number };
  /** What the VUI claims; undefined when it says nothing. */
  readonly frameRate: FrameRate | undefined;
  /** Most frames by which output lags decoding; undefined when the VUI does not say. */
  readonly reorderFrames: number | undefined;
};

const SPS_NAL_TYPE = 7;
/** Profiles whose SPS carries the chroma format. @spec ITU-T H.264 §7.3.2.1.1 */
const HIGH_PROFILES: readonly number[] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
const EXTENDED_SAR = 255;
/** @spec ITU-T H.264 table E-1 */
const SAMPLE_ASPECTS: readonly (readonly [number, number])[] = [
  [1, 1],
  [1, 1],
  [12, 11],
  [10, 11],
  [16, 11],
  [40, 33],
  [24, 11],
  [20, 11],
  [32, 11],
  [80, 33],
  [18, 11],
  [15, 11],
  [64, 33],
  [160, 99],
  [4, 3],
  [3, 2],
  [2, 1],
];

/**
 * Reads an AVCDecoderConfigurationRecord.
 *
 * @throws {CmafError} when it is damaged or holds no sequence parameter set
 * @spec ISO/IEC 14496-15 §5.3.3.1
 */
export function parseAvcConfiguration(record: Uint8Array): AvcConfiguration {
  if (record.length < 8 || record[0] !== 1)
    throw new CmafError('box_content_invalid', 'this is not an AVC decoder configuration');
  const count = (record[5] ?? 0) & 0x1f;
  const length = ((record[6] ?? 0) << 8) | (record[7] ?? 0);
  const sps = record.subarray(8, 8 + length);
  if (count === 0 || sps.length < 4 || sps.length !== length)
    throw new CmafError('box_content_invalid', 'an AVC decoder configuration holds no whole SPS');
  return parseSps(sps);
}

/** @throws {CmafError} when it is no sequence parameter set. @spec ITU-T H.264 §7.3.2.1.1 */
export function parseSps(nal: Uint8Array): AvcConfiguration {
  if (((nal[0] ?? 0) & 0x1f) !== SPS_NAL_TYPE)
    throw new CmafError('box_content_invalid', 'the NAL unit is no sequence parameter set');
  const reader = new BitReader(withoutEmulationPrevention(nal.subarray(1)));
  const profileIdc = reader.bits(8);
  const constraintFlags = reader.bits(8);
  const levelIdc = reader.bits(8);
  reader.ue(); // seq_parameter_set_id
  const chromaFormat = HIGH_PROFILES.includes(profileIdc) ? readChroma(reader) : 1;
  skipReferences(reader);
  const widthMbs = reader.ue() + 1;
  const heightMapUnits = reader.ue() + 1;
  const framesOnly = reader.bit();
  if (framesOnly === 0) reader.bit(); // mb_adaptive_frame_field_flag
  reader.bit(); // direct_8x8_inference_flag
  const crop = reader.flag() ? [reader.ue(), reader.ue(), reader.ue(), reader.ue()] : [0, 0, 0, 0];
  const [left = 0, right = 0, top = 0, bottom = 0] = crop;
  const cropUnitX = chromaFormat === 1 || chromaFormat === 2 ? 2 : 1;
  const cropUnitY = (chromaFormat === 1 ? 2 : 1) * (2 - framesOnly);
  const width = widthMbs * 16 - cropUnitX * (left + right);
  const height = heightMapUnits * 16 * (2 - framesOnly) - cropUnitY * (top + bottom);
  if (width < 1 || height < 1 || width > 16_384 || height > 16_384)
    throw new CmafError('box_content_invalid', `a picture of ${width} × ${height} is not possible`);
  return { profileIdc, constraintFlags, levelIdc, width, height, ...readVui(reader) };
}

type Vui = Pick<AvcConfiguration, 'sampleAspect' | 'frameRate' | 'reorderFrames'>;

function readChroma(reader: BitReader): number {
  const format = reader.ue();
  if (format === 3) reader.bit(); // separate_colour_plane_flag
  reader.ue(); // bit_depth_luma_minus8
  reader.ue(); // bit_depth_chroma_minus8
  reader.bit(); // qpprime_y_zero_transform_bypass_flag
  if (reader.flag()) {
    for (let list = 0; list < (format === 3 ? 12 : 8); list++)
      if (reader.flag()) skipScalingList(reader, list < 6 ? 16 : 64);
  }
  return format;
}

function skipScalingList(reader: BitReader, size: number): void {
  let last = 8;
  let next = 8;
  for (let index = 0; index < size; index++) {
    if (next !== 0) next = (last + reader.se() + 256) % 256;
    last = next === 0 ? last : next;
  }
}

function skipReferences(reader: BitReader): void {
  reader.ue(); // log2_max_frame_num_minus4
  const orderType = reader.ue();
  if (orderType === 0) reader.ue();
  else if (orderType === 1) {
    reader.bit();
    reader.se();
    reader.se();
    const cycle = reader.ue();
    if (cycle > 255) throw new CmafError('box_content_invalid', 'the picture order cycle is too long');
    for (let index = 0; index < cycle; index++) reader.se();
  }
  reader.ue(); // max_num_ref_frames
  reader.bit(); // gaps_in_frame_num_value_allowed_flag
}

/** @spec ITU-T H.264 §E.1.1 */
function readVui(reader: BitReader): Vui {
  if (!reader.flag())
    return {
      sampleAspect: { numerator: 1, denominator: 1 },
      frameRate: undefined,
      reorderFrames: undefined,
    };
  const sampleAspect = reader.flag() ? readSampleAspect(reader) : { numerator: 1, denominator: 1 };
  if (reader.flag()) reader.bit(); // overscan
  if (reader.flag()) {
    reader.bits(4); // video_format, video_full_range_flag
    if (reader.flag()) reader.bits(24);
  }
  if (reader.flag()) {
    reader.ue();
    reader.ue();
  }
  const frameRate = reader.flag() ? readTiming(reader) : undefined;
  return { sampleAspect, frameRate, reorderFrames: readReorder(reader) };
}

function readSampleAspect(reader: BitReader): { numerator: number; denominator: number } {
  const index = reader.bits(8);
  const [numerator, denominator] =
    index === EXTENDED_SAR ? [reader.bits(16), reader.bits(16)] : (SAMPLE_ASPECTS[index] ?? [1, 1]);
  return numerator === 0 || denominator === 0 ? { numerator: 1, denominator: 1 } : { numerator, denominator };
}

/** A frame lasts two units of time. @spec ITU-T H.264 §E.2.1 (`num_units_in_tick`) */
function readTiming(reader: BitReader): FrameRate | undefined {
  const unitsInTick = reader.bits(32);
  const timeScale = reader.bits(32);
  reader.bit(); // fixed_frame_rate_flag
  if (unitsInTick === 0 || timeScale === 0) return undefined;
  return reduce(timeScale, unitsInTick * 2);
}

function readReorder(reader: BitReader): number | undefined {
  const nalHrd = reader.flag();
  if (nalHrd) skipHrd(reader);
  const vclHrd = reader.flag();
  if (vclHrd) skipHrd(reader);
  if (nalHrd || vclHrd) reader.bit(); // low_delay_hrd_flag
  reader.bit(); // pic_struct_present_flag
  if (!reader.flag()) return undefined;
  reader.bit();
  for (let field = 0; field < 4; field++) reader.ue();
  return reader.ue();
}

/** @spec ITU-T H.264 §E.1.2 */
function skipHrd(reader: BitReader): void {
  const count = reader.ue() + 1;
  if (count > 32) throw new CmafError('box_content_invalid', 'there are too many coded picture buffers');
  reader.bits(8);
  for (let index = 0; index < count; index++) {
    reader.ue();
    reader.ue();
    reader.bit();
  }
  reader.bits(20);
}

function reduce(numerator: number, denominator: number): FrameRate {
  let [a, b] = [numerator, denominator];
  while (b !== 0) [a, b] = [b, a % b];
  return { numerator: numerator / a, denominator: denominator / a };
}

/** @spec ITU-T H.264 §7.4.1.1 */
function withoutEmulationPrevention(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes.length);
  let length = 0;
  let zeros = 0;
  for (const byte of bytes) {
    if (zeros >= 2 && byte === 3) {
      zeros = 0;
      continue;
    }
    zeros = byte === 0 ? zeros + 1 : 0;
    out[length] = byte;
    length += 1;
  }
  return out.subarray(0, length);
}
