import { BOX_HEADER_BYTES, boxesIn, findBox, fullBox, requireBox, type Box } from '#protocol/cmaf/boxes.ts';
import { CmafError } from '#protocol/cmaf/cmaf-error.ts';

/** One coded frame with its place on the track's timeline, in ticks of the track's timescale. */
export type CmafSample = {
  /** Decoding time. */
  readonly startTicks: number;
  readonly durationTicks: number;
  /** Presentation time minus decoding time; may be negative. */
  readonly compositionOffsetTicks: number;
  /** Whether decoding can begin here. */
  readonly sync: boolean;
  readonly data: Uint8Array;
};

/** What applies to samples that do not say otherwise. @spec ISO/IEC 14496-12 §8.8.3 (`trex`) */
export type SampleDefaults = {
  readonly durationTicks: number;
  readonly sizeBytes: number;
  readonly flags: number;
};

/** Most samples of one fragment. */
export const FRAGMENT_SAMPLES_MAX = 4096;

/** Flag words of samples. @spec ISO/IEC 14496-12 §8.8.3.1 */
export const SAMPLE_FLAGS_SYNC = 0x0200_0000;
export const SAMPLE_FLAGS_NON_SYNC = 0x0101_0000;
const SAMPLE_IS_NON_SYNC = 0x0001_0000;

const TFHD = {
  baseDataOffset: 0x01,
  descriptionIndex: 0x02,
  duration: 0x08,
  size: 0x10,
  flags: 0x20,
  baseIsMoof: 0x02_0000,
} as const;
const TRUN = {
  dataOffset: 0x01,
  firstFlags: 0x04,
  duration: 0x100,
  size: 0x200,
  flags: 0x400,
  compositionOffset: 0x800,
} as const;

/**
 * Reads a movie fragment of one track: a `moof` and the `mdat` right after it.
 *
 * @param defaults from the init segment
 * @returns the samples in decoding order; their data are views into `mdat`
 * @throws {CmafError} when the boxes are damaged, or hold more than one track, or data outside of `mdat`
 * @spec ISO/IEC 14496-12 §8.8
 */
export function parseFragment(moof: Box, mdat: Box, defaults: SampleDefaults): CmafSample[] {
  const trafs = [...boxesIn(moof.payload)].filter((box) => box.type === 'traf');
  const traf = trafs[0];
  if (traf === undefined) throw new CmafError('box_missing', "there is no 'traf' in a 'moof'");
  if (trafs.length > 1) throw new CmafError('box_unexpected', "a 'moof' holds more than one track");
  const trackDefaults = readTfhd(requireBox(traf.payload, ['tfhd']), defaults);
  let startTicks = readTfdt(requireBox(traf.payload, ['tfdt']));
  const samples: CmafSample[] = [];
  let dataEnd = moof.bytes.length + BOX_HEADER_BYTES;
  for (const box of boxesIn(traf.payload)) {
    if (box.type !== 'trun') continue;
    for (const entry of readTrun(box, trackDefaults, dataEnd)) {
      const from = entry.offset - moof.bytes.length - BOX_HEADER_BYTES;
      if (from < 0 || from + entry.sizeBytes > mdat.payload.length)
        throw new CmafError('box_content_invalid', "a sample lies outside of its 'mdat'");
      if (samples.length >= FRAGMENT_SAMPLES_MAX)
        throw new CmafError('box_content_invalid', `a fragment holds over ${FRAGMENT_SAMPLES_MAX} samples`);
      samples.push({
        startTicks,
        durationTicks: entry.durationTicks,
        compositionOffsetTicks: entry.compositionOffsetTicks,
        sync: (entry.flags & SAMPLE_IS_NON_SYNC) === 0,
        data: mdat.payload.subarray(from, from + entry.sizeBytes),
      });
      startTicks += entry.durationTicks;
      dataEnd = entry.offset + entry.sizeBytes;
    }
  }
  if (samples.length === 0) throw new CmafError('box_content_invalid', 'a fragment holds no sample');
  return samples;
}

/**
 * What an uploaded part holds, without its samples' data: for checks on the receiving side.
 *
 * @throws {CmafError} when `bytes` are not exactly one `moof` and one `mdat` of one track
 */
export function parsePart(bytes: Uint8Array, defaults: SampleDefaults): CmafSample[] {
  const [moof, mdat, ...rest] = [...boxesIn(bytes)].filter((box) => box.type !== 'styp');
  if (moof?.type !== 'moof') throw new CmafError('box_missing', "a part does not begin with 'moof'");
  if (mdat?.type !== 'mdat') throw new CmafError('box_missing', "there is no 'mdat' after the 'moof'");
  if (rest.length > 0) throw new CmafError('box_unexpected', 'there is more than one fragment in a part');
  return parseFragment(moof, mdat, defaults);
}

/** The sequence number of a fragment, or undefined. @spec ISO/IEC 14496-12 §8.8.5 */
export function fragmentSequence(moof: Box): number | undefined {
  const mfhd = findBox(moof.payload, 'mfhd');
  return mfhd === undefined ? undefined : fullBox(mfhd, 4).body.getUint32(0);
}

function readTfhd(box: Box, defaults: SampleDefaults): SampleDefaults {
  const { flags, body } = fullBox(box, 4);
  if ((flags & TFHD.baseDataOffset) !== 0 || (flags & TFHD.baseIsMoof) === 0)
    throw new CmafError('box_content_invalid', 'sample data must be counted from the start of the moof');
  let offset = 4;
  const next = (present: number, fallback: number): number => {
    if ((flags & present) === 0) return fallback;
    if (offset + 4 > body.byteLength) throw new CmafError('box_size_invalid', "'tfhd' is too short");
    offset += 4;
    return body.getUint32(offset - 4);
  };
  next(TFHD.descriptionIndex, 1);
  return {
    durationTicks: next(TFHD.duration, defaults.durationTicks),
    sizeBytes: next(TFHD.size, defaults.sizeBytes),
    flags: next(TFHD.flags, defaults.flags),
  };
}

function readTfdt(box: Box): number {
  const { version, body } = fullBox(box, 4);
  if (version === 0) return body.getUint32(0);
  if (body.byteLength < 8) throw new CmafError('box_size_invalid', "'tfdt' is too short");
  const ticks = body.getBigUint64(0);
  if (ticks > BigInt(Number.MAX_SAFE_INTEGER))
    throw new CmafError('box_content_invalid', `a fragment cannot begin at tick ${ticks}`);
  return Number(ticks);
}

type TrunEntry = {
  readonly offset: number;
  readonly durationTicks: number;
  readonly sizeBytes: number;
  readonly flags: number;
  readonly compositionOffsetTicks: number;
};

function* readTrun(box: Box, defaults: SampleDefaults, dataOffset: number): Generator<TrunEntry> {
  const { version, flags, body } = fullBox(box, 4);
  const count = body.getUint32(0);
  const perSample =
    4 *
    [TRUN.duration, TRUN.size, TRUN.flags, TRUN.compositionOffset].filter((bit) => (flags & bit) !== 0)
      .length;
  const head = 4 + ((flags & TRUN.dataOffset) === 0 ? 0 : 4) + ((flags & TRUN.firstFlags) === 0 ? 0 : 4);
  if (head + count * perSample !== body.byteLength)
    throw new CmafError('box_size_invalid', `'trun' is not as long as its ${count} samples`);
  if (count > FRAGMENT_SAMPLES_MAX)
    throw new CmafError('box_content_invalid', `a run holds over ${FRAGMENT_SAMPLES_MAX} samples`);
  let offset = 4;
  let dataAt = dataOffset;
  if ((flags & TRUN.dataOffset) !== 0) {
    dataAt = body.getInt32(offset);
    offset += 4;
  }
  let firstFlags: number | undefined;
  if ((flags & TRUN.firstFlags) !== 0) {
    firstFlags = body.getUint32(offset);
    offset += 4;
  }
  const next = (present: number, fallback: number): number => {
    if ((flags & present) === 0) return fallback;
    offset += 4;
    return body.getUint32(offset - 4);
  };
  for (let index = 0; index < count; index++) {
    const durationTicks = next(TRUN.duration, defaults.durationTicks);
    const sizeBytes = next(TRUN.size, defaults.sizeBytes);
    const ownFlags = next(TRUN.flags, defaults.flags);
    const unsignedOffset = next(TRUN.compositionOffset, 0);
    yield {
      offset: dataAt,
      durationTicks,
      sizeBytes,
      flags: index === 0 && firstFlags !== undefined ? firstFlags : ownFlags,
      compositionOffsetTicks: version === 0 ? unsignedOffset : unsignedOffset | 0,
    };
    dataAt += sizeBytes;
  }
}
