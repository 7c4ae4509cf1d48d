/** What an H.264 sequence header says about the picture. */
export type AvcConfig = {
  /** RFC 6381, e.g. `avc1.64001f`. */
  readonly codec: string;
  /** Of the picture as shown, cropping applied; null when the parameter set is one we cannot read. */
  readonly width: number | null;
  readonly height: number | null;
};

/** A sequence header that no decoder could use. */
export class AvcConfigError extends Error {
  override readonly name = 'AvcConfigError';
  readonly code = 'media_malformed';
}

const NAL_TYPE_SPS = 7;
/** Profiles whose parameter sets carry the chroma format. @spec ISO/IEC 14496-10 §7.3.2.1.1 */
const PROFILES_WITH_CHROMA = new Set([100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135]);
const PICTURE_SIDE_MAX = 16_384;

/**
 * Reads an AVCDecoderConfigurationRecord.
 *
 * @throws {AvcConfigError} when it is cut short or has no parameter set
 * @spec ISO/IEC 14496-15 §5.3.3.1
 */
export function parseAvcConfig(record: Uint8Array): AvcConfig {
  const sps = parameterSets(record).sps[0];
  if (sps === undefined) throw new AvcConfigError('the sequence header has no sequence parameter set');
  const codec = `avc1.${Buffer.from(record.subarray(1, 4)).toString('hex')}`;
  const size = pictureSize(sps);
  return { codec, width: size?.width ?? null, height: size?.height ?? null };
}

/** Whether two sequence headers describe the same video, whatever their reserved bits and extensions say. */
export function sameAvcConfig(a: Uint8Array, b: Uint8Array): boolean {
  if (Buffer.compare(a, b) === 0) return true;
  const [left, right] = [parameterSets(a), parameterSets(b)];
  return (
    left.lengthSize === right.lengthSize && sameSets(left.sps, right.sps) && sameSets(left.pps, right.pps)
  );
}

function sameSets(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  return (
    a.length === b.length && a.every((set, index) => Buffer.compare(set, b[index] ?? new Uint8Array()) === 0)
  );
}

function parameterSets(record: Uint8Array): { lengthSize: number; sps: Uint8Array[]; pps: Uint8Array[] } {
  const [version, , , , lengthByte, spsCountByte] = record;
  if (version !== 1 || lengthByte === undefined || spsCountByte === undefined)
    throw new AvcConfigError('the sequence header is not an AVCDecoderConfigurationRecord');
  let offset = 6;
  const readSets = (count: number): Uint8Array[] => {
    const sets: Uint8Array[] = [];
    for (let index = 0; index < count; index++) {
      const length = ((record[offset] ?? 0) << 8) | (record[offset + 1] ?? 0);
      const set = record.subarray(offset + 2, offset + 2 + length);
      if (length === 0 || set.length !== length)
        throw new AvcConfigError('a parameter set of the sequence header is cut short');
      sets.push(set);
      offset += 2 + length;
    }
    return sets;
  };
  const sps = readSets(spsCountByte & 0x1f);
  const ppsCount = record[offset++];
  if (ppsCount === undefined)
    throw new AvcConfigError('the sequence header ends before its picture parameter sets');
  return { lengthSize: (lengthByte & 3) + 1, sps, pps: readSets(ppsCount) };
}

/**
 * The size of the picture that a sequence parameter set describes, or undefined when it makes no sense.
 *
 * @param nal with its header byte
 * @spec ISO/IEC 14496-10 §7.3.2.1.1, §7.4.2.1.1
 */
export function pictureSize(nal: Uint8Array): { width: number; height: number } | undefined {
  if (((nal[0] ?? 0) & 0x1f) !== NAL_TYPE_SPS) return undefined;
  const bits = new BitReader(withoutEmulationPrevention(nal.subarray(1)));
  const profile = bits.fixed(8);
  bits.fixed(16); // constraint flags and level
  bits.exponential(); // seq_parameter_set_id
  let chromaFormat = 1;
  let separatePlanes = false;
  if (PROFILES_WITH_CHROMA.has(profile)) {
    chromaFormat = bits.exponential();
    if (chromaFormat === 3) separatePlanes = bits.flag();
    bits.exponential(); // bit_depth_luma_minus8
    bits.exponential(); // bit_depth_chroma_minus8
    bits.flag(); // qpprime_y_zero_transform_bypass_flag
    if (bits.flag()) skipScalingLists(bits, chromaFormat === 3 ? 12 : 8);
  }
  bits.exponential(); // log2_max_frame_num_minus4
  skipPictureOrder(bits);
  bits.exponential(); // max_num_ref_frames
  bits.flag(); // gaps_in_frame_num_value_allowed_flag
  const widthInMacroblocks = bits.exponential() + 1;
  const heightInMapUnits = bits.exponential() + 1;
  const framesOnly = bits.flag();
  if (!framesOnly) bits.flag(); // mb_adaptive_frame_field_flag
  bits.flag(); // direct_8x8_inference_flag
  const crop = bits.flag()
    ? {
        left: bits.exponential(),
        right: bits.exponential(),
        top: bits.exponential(),
        bottom: bits.exponential(),
      }
    : { left: 0, right: 0, top: 0, bottom: 0 };
  if (bits.exhausted) return undefined;

  const fieldFactor = framesOnly ? 1 : 2;
  const isSubsampled = chromaFormat !== 0 && !separatePlanes;
  const cropUnitX = isSubsampled && chromaFormat < 3 ? 2 : 1;
  const cropUnitY = (isSubsampled && chromaFormat === 1 ? 2 : 1) * fieldFactor;
  const width = widthInMacroblocks * 16 - (crop.left + crop.right) * cropUnitX;
  const height = heightInMapUnits * 16 * fieldFactor - (crop.top + crop.bottom) * cropUnitY;
  const isSane = width > 0 && height > 0 && width <= PICTURE_SIDE_MAX && height <= PICTURE_SIDE_MAX;
  return isSane ? { width, height } : undefined;
}

function skipScalingLists(bits: BitReader, listCount: number): void {
  for (let list = 0; list < listCount; list++) {
    if (!bits.flag()) continue;
    const size = list < 6 ? 16 : 64;
    let last = 8;
    let next = 8;
    for (let index = 0; index < size; index++) {
      if (next !== 0) next = (last + bits.signedExponential() + 256) % 256;
      if (next !== 0) last = next;
    }
  }
}

function skipPictureOrder(bits: BitReader): void {
  const type = bits.exponential();
  if (type === 0) bits.exponential(); // log2_max_pic_order_cnt_lsb_minus4
  if (type !== 1) return;
  bits.flag(); // delta_pic_order_always_zero_flag
  bits.exponential(); // offset_for_non_ref_pic
  bits.exponential(); // offset_for_top_to_bottom_field
  const count = Math.min(bits.exponential(), 255);
  for (let index = 0; index < count; index++) bits.exponential(); // offset_for_ref_frame
}

/** Drops the 0x03 that keeps start codes out of a NAL unit. @spec ISO/IEC 14496-10 §7.4.1 */
function withoutEmulationPrevention(nal: Uint8Array): Uint8Array {
  const out = new Uint8Array(nal.length);
  let length = 0;
  let zeros = 0;
  for (const byte of nal) {
    if (zeros >= 2 && byte === 3) {
      zeros = 0;
      continue;
    }
    zeros = byte === 0 ? zeros + 1 : 0;
    out[length++] = byte;
  }
  return out.subarray(0, length);
}

/** Bits of a parameter set; past the end it gives zeros and says so, so that no loop here depends on its input's end. */
class BitReader {
  readonly #bytes: Uint8Array;
  #position = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get exhausted(): boolean {
    return this.#position > this.#bytes.length * 8;
  }

  flag(): boolean {
    const byte = this.#bytes[this.#position >> 3] ?? 0;
    return ((byte >> (7 - (this.#position++ & 7))) & 1) === 1;
  }

  fixed(bitCount: number): number {
    let value = 0;
    for (let index = 0; index < bitCount; index++) value = value * 2 + (this.flag() ? 1 : 0);
    return value;
  }

  /** ue(v). @spec ISO/IEC 14496-10 §9.1 */
  exponential(): number {
    let zeros = 0;
    while (zeros < 32 && !this.exhausted && !this.flag()) zeros++;
    return 2 ** zeros - 1 + this.fixed(zeros);
  }

  /** se(v). @spec ISO/IEC 14496-10 §9.1.1 */
  signedExponential(): number {
    const value = this.exponential();
    return value % 2 === 0 ? -(value / 2) : (value + 1) / 2;
  }
}
