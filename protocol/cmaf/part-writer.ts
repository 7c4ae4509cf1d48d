import { BOX_HEADER_BYTES, makeBox, makeFullBox, u32, viewOf } from '#protocol/cmaf/boxes.ts';
import { SAMPLE_FLAGS_NON_SYNC, SAMPLE_FLAGS_SYNC, type CmafSample } from '#protocol/cmaf/fragment.ts';

/** Default-base-is-moof. @spec ISO/IEC 14496-12 §8.8.7.1 */
const TFHD_FLAGS = 0x02_0000;
/** Data offset, duration, size and flags of each sample. @spec ISO/IEC 14496-12 §8.8.8.1 */
const TRUN_FLAGS = 0x701;
const TRUN_COMPOSITION_OFFSET = 0x800;

/**
 * Writes samples as one CMAF chunk: one `moof` and one `mdat`, every field of every sample stated. The samples must
 * follow one another without a hole.
 *
 * @param trackId as in the init segment
 * @param sequence counts the fragments of the track, from 1
 * @throws {RangeError} when there is no sample, or a hole between two
 * @spec ISO/IEC 23000-19 §7.3.3.2
 */
export function writePart(
  trackId: number,
  sequence: number,
  samples: readonly CmafSample[],
): Uint8Array<ArrayBuffer> {
  const first = samples[0];
  if (first === undefined) throw new RangeError('a part needs a sample');
  assertContiguous(samples);
  const offsets = samples.some((sample) => sample.compositionOffsetTicks !== 0);
  const run = new Uint8Array(8 + samples.length * (offsets ? 16 : 12));
  const view = viewOf(run);
  view.setUint32(0, samples.length);
  let at = 8;
  for (const sample of samples) {
    view.setUint32(at, sample.durationTicks);
    view.setUint32(at + 4, sample.data.length);
    view.setUint32(at + 8, sample.sync ? SAMPLE_FLAGS_SYNC : SAMPLE_FLAGS_NON_SYNC);
    if (offsets) view.setInt32(at + 12, sample.compositionOffsetTicks);
    at += offsets ? 16 : 12;
  }
  const moofOf = (): Uint8Array<ArrayBuffer> =>
    makeBox(
      'moof',
      makeFullBox('mfhd', 0, 0, u32(sequence)),
      makeBox(
        'traf',
        makeFullBox('tfhd', 0, TFHD_FLAGS, u32(trackId)),
        makeFullBox('tfdt', 1, 0, u64(first.startTicks)),
        makeFullBox('trun', 1, TRUN_FLAGS | (offsets ? TRUN_COMPOSITION_OFFSET : 0), run),
      ),
    );
  // The data offset is the length of the box that holds it: built once to learn the length, once more with it.
  view.setUint32(4, moofOf().length + BOX_HEADER_BYTES);
  const moof = moofOf();
  const mediaBytes = samples.reduce((sum, sample) => sum + sample.data.length, 0);
  const part = new Uint8Array(moof.length + BOX_HEADER_BYTES + mediaBytes);
  part.set(moof);
  part.set(makeMdatHeader(mediaBytes), moof.length);
  let offset = moof.length + BOX_HEADER_BYTES;
  for (const sample of samples) {
    part.set(sample.data, offset);
    offset += sample.data.length;
  }
  return part;
}

function assertContiguous(samples: readonly CmafSample[]): void {
  samples.forEach((sample, index) => {
    const next = samples[index + 1];
    if (next !== undefined && sample.startTicks + sample.durationTicks !== next.startTicks)
      throw new RangeError(
        `there is a hole between tick ${sample.startTicks + sample.durationTicks} and ${next.startTicks}`,
      );
  });
}

function makeMdatHeader(mediaBytes: number): Uint8Array {
  const header = makeBox('mdat');
  viewOf(header).setUint32(0, BOX_HEADER_BYTES + mediaBytes);
  return header;
}

function u64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  viewOf(bytes).setBigUint64(0, BigInt(value));
  return bytes;
}
