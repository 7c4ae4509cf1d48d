import { boxesIn, findBox } from '#protocol/cmaf/boxes.ts';
import { CmafError } from '#protocol/cmaf/cmaf-error.ts';
import { parsePart, type CmafSample, type SampleDefaults } from '#protocol/cmaf/fragment.ts';
import { parseSampleDefaults } from '#protocol/cmaf/init-segment.ts';
import type { PartUpload } from '#protocol/ingest/part-upload.ts';
import { ProblemError } from '#runtime/http/problem.ts';

/** Boxes that every track fragment must have. @spec rfc8216bis §3.1.2, ISO/IEC 14496-12 §8.8 */
const TRAF_CHILDREN = ['tfhd', 'tfdt', 'trun'] as const;
const NO_DEFAULTS: SampleDefaults = { durationTicks: 0, sizeBytes: 0, flags: 0 };

/** What the headers of an upload say of the samples in its body. */
export type PartClaims = Pick<PartUpload, 'startTicks' | 'durationTicks' | 'independent'>;

/**
 * Refuses what cannot be a part: anything but one whole `moof` and one whole `mdat`, all samples inside, that begin,
 * last and can be decoded as the headers say.
 *
 * @param init the init segment of the timeline, for what the samples leave unsaid
 * @throws {ProblemError} 422 `part_invalid`
 */
export function assertPartBoxes(bytes: Uint8Array, claims: PartClaims, init: Uint8Array | undefined): void {
  read(() => {
    const boxes = expectBoxes(bytes, ['moof', 'mdat']);
    const moof = boxes[0]?.payload ?? bytes;
    const trafs = [...boxesIn(moof)].filter(({ type }) => type === 'traf');
    if (findBox(moof, 'mfhd') === undefined || trafs.length === 0)
      throw new CmafError('box_missing', "'moof' needs an 'mfhd' and a 'traf'");
    for (const traf of trafs)
      for (const child of TRAF_CHILDREN)
        if (findBox(traf.payload, child) === undefined)
          throw new CmafError('box_missing', `'traf' needs a '${child}'`);
    assertClaims(parsePart(bytes, init === undefined ? NO_DEFAULTS : parseSampleDefaults(init)), claims);
  });
}

/** @throws {CmafError} */
function assertClaims(samples: readonly CmafSample[], claims: PartClaims): void {
  const refuse = (message: string): never => {
    throw new CmafError('box_content_invalid', message);
  };
  const [first] = samples;
  if (first?.startTicks !== claims.startTicks)
    refuse(`it begins at tick ${first?.startTicks}, not at ${claims.startTicks}`);
  const durationTicks = samples.reduce((sum, sample) => sum + sample.durationTicks, 0);
  if (durationTicks !== claims.durationTicks)
    refuse(`its samples last ${durationTicks} ticks, not ${claims.durationTicks}`);
  if (claims.independent && first?.sync === false) refuse('its first sample is no sync sample');
}

/**
 * Refuses what cannot be an init segment: anything but one whole `ftyp` and one whole `moov` for fragments.
 *
 * @throws {ProblemError} 422 `part_invalid`
 * @spec rfc8216bis §3.1.2
 */
export function assertInitBoxes(bytes: Uint8Array): void {
  read(() => {
    const moov = expectBoxes(bytes, ['ftyp', 'moov'])[1]?.payload ?? bytes;
    for (const child of ['mvhd', 'trak', 'mvex'])
      if (findBox(moov, child) === undefined) throw new CmafError('box_missing', `'moov' needs a '${child}'`);
    parseSampleDefaults(bytes);
  });
}

function expectBoxes(bytes: Uint8Array, types: readonly string[]): { payload: Uint8Array }[] {
  const boxes = [...boxesIn(bytes)];
  const found = boxes.map(({ type }) => type);
  if (found.length !== types.length || found.some((type, index) => type !== types[index]))
    throw new CmafError(
      'box_unexpected',
      `expected ${types.join(', ')}; got ${found.slice(0, 8).join(', ') || 'nothing'}`,
    );
  return boxes;
}

function read(check: () => void): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof CmafError)) throw error;
    throw new ProblemError(422, 'part_invalid', `The body is not what it should be: ${error.message}.`, {
      cause: error,
    });
  }
}
