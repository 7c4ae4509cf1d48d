import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CmafSample } from '#protocol/cmaf/fragment.ts';
import { planGrid } from '#protocol/cmaf/part-grid.ts';
import type { IngestPacket } from '#transcoder/ingest/incoming-publish.ts';
import { TranscodeError } from '#transcoder/transcode-error.ts';
import { CopiedTrack } from '#transcoder/cutter/copied-track.ts';
import type { CutInit, CutPart } from '#transcoder/cutter/cut-part.ts';
import { TrackCutter } from '#transcoder/cutter/track-cutter.ts';
import type { PlannedVideo } from '#transcoder/ladder/ladder-plan.ts';

const CONFIGURATION = Uint8Array.from(
  Buffer.from(
    '0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f183196001000468ef8fcbfdf8f800',
    'hex',
  ),
);
const FRAME_RATE = { numerator: 30, denominator: 1 };
const RENDITION: PlannedVideo = {
  kind: 'video',
  id: 'source',
  mode: 'copy',
  width: 1280,
  height: 720,
  bitrateBps: 1,
  frameRate: FRAME_RATE,
  timescale: 30_000,
  frameTicks: 1000,
};
const GRID = planGrid({ segmentDurationMs: 2000, partDurationMs: 333, frameRate: FRAME_RATE });
const SOURCE = {
  width: 1280,
  height: 720,
  codedWidth: 1280,
  codedHeight: 720,
  frameRate: FRAME_RATE,
  bitrateBps: undefined,
  configuration: CONFIGURATION,
};
const frame = (index: number, keyframe: boolean): IngestPacket & { kind: 'video' } => ({
  kind: 'video',
  sequenceHeader: false,
  keyframe,
  dtsMs: 0,
  compositionOffsetMs: 0,
  arrivalUtcMs: 0,
  flvBody: Uint8Array.of(keyframe ? 0x17 : 0x27, 1, 0, 0, 0, index & 0xff),
});

function copy(times: readonly (readonly [decodingMs: number, presentationMs?: number, key?: boolean])[]) {
  const samples: CmafSample[] = [];
  const inits: CutInit[] = [];
  const parts: CutPart[] = [];
  const cutter = new TrackCutter({
    rendition: RENDITION,
    grid: GRID,
    trackId: 1,
    arrivalBefore: () => 0,
    emit: (part) => parts.push(part),
  });
  const track = new CopiedTrack(RENDITION, SOURCE, GRID, {
    init: (init) => inits.push(init),
    sample: (sample) => {
      samples.push(sample);
      cutter.push(sample);
    },
  });
  times.forEach(([decodingMs, presentationMs = decodingMs, key = decodingMs % 2000 === 0], index) =>
    track.push(frame(index, key), decodingMs, presentationMs),
  );
  track.end();
  return { samples, inits, parts };
}
const codeOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof TranscodeError) return error.code;
    throw error;
  }
  return 'no error';
};
const steady = (count: number) =>
  Array.from({ length: count }, (_, index) => [Math.round((index * 1000) / 30)] as const);

describe('CopiedTrack', () => {
  it('writes an init segment of the source', () => {
    expect(copy(steady(1)).inits).toMatchObject([
      {
        renditionId: 'source',
        track: { kind: 'video', codecs: 'avc1.64001F', timescale: 30_000, width: 1280 },
      },
    ]);
  });

  it('puts millisecond timestamps on the exact frame grid', () => {
    const { samples, parts } = copy(steady(121));
    expect(samples.map((sample) => sample.startTicks)).toEqual(samples.map((_, index) => index * 1000));
    expect(samples.every((sample) => sample.durationTicks === 1000)).toBe(true);
    expect(parts.length).toBe(12);
  });

  it('keeps the presentation times of B-frames', () => {
    const { samples } = copy([
      [0, 0],
      [33, 100],
      [67, 33],
      [100, 67],
      [133, 133],
    ]);
    expect(samples.map((sample) => (sample.startTicks + sample.compositionOffsetTicks) / 1000)).toEqual([
      0, 3, 1, 2, 4,
    ]);
  });

  it('fills a missing frame with the one before it', () => {
    const { samples } = copy([[0], [33], [100], [133]]);
    expect(samples.map((sample) => sample.durationTicks)).toEqual([1000, 2000, 1000, 1000]);
  });

  it('shows the first frame of a part early when the last ones of the part before are missing, so that no part is too long', () => {
    const times = steady(30).filter((_, index) => index !== 9 && index !== 10);
    const { parts, samples } = copy(times);
    expect(parts.map((part) => part.durationTicks / 1000)).toEqual([10, 10, 10]);
    expect(samples.find((sample) => sample.startTicks === 10_000)?.compositionOffsetTicks).toBe(1000);
  });

  it.each([
    ['a part without any frame', [...steady(5), [800] as const]],
    [
      'frames at twice the rate',
      Array.from({ length: 20 }, (_, index) => [Math.round((index * 1000) / 60)] as const),
    ],
    [
      'a key frame that does not begin a segment',
      [
        [0],
        ...steady(61)
          .slice(1)
          .map(([at]) => [at, at, false] as const),
      ],
    ],
  ] as const)('refuses %s', (_what, times) => {
    expect(codeOf(() => copy(times))).toBe('copy_off_grid');
  });

  it('gives whole parts for any jitter below half a frame', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -15, max: 15 }), { minLength: 60, maxLength: 200 }),
        (jitter) => {
          let beforeMs = 0;
          const times = jitter.map((offset, index) => {
            beforeMs = index === 0 ? 0 : Math.max(beforeMs, Math.round((index * 1000) / 30) + offset);
            return [beforeMs, beforeMs, index % 60 === 0] as const;
          });
          const { parts } = copy(times);
          expect(parts.every((part) => part.durationTicks === 10_000)).toBe(true);
        },
      ),
    );
  });
});
