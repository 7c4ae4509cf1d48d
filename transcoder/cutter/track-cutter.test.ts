import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePart, type CmafSample } from '#protocol/cmaf/fragment.ts';
import { planGrid } from '#protocol/cmaf/part-grid.ts';
import { TranscodeError } from '#transcoder/transcode-error.ts';
import type { CutPart } from '#transcoder/cutter/cut-part.ts';
import { TrackCutter } from '#transcoder/cutter/track-cutter.ts';
import type { PlannedAudio, PlannedVideo } from '#transcoder/ladder/ladder-plan.ts';

const NO_DEFAULTS = { durationTicks: 0, sizeBytes: 0, flags: 0 };
const VIDEO: PlannedVideo = {
  kind: 'video',
  id: '720p',
  mode: 'encode',
  width: 1280,
  height: 720,
  bitrateBps: 1,
  frameRate: { numerator: 25, denominator: 1 },
  timescale: 25_000,
  frameTicks: 1000,
};
const AUDIO: PlannedAudio = {
  kind: 'audio',
  id: 'audio',
  mode: 'encode',
  channels: 2,
  sampleRateHz: 48_000,
  bitrateBps: 1,
  timescale: 48_000,
  frameTicks: 1024,
};
const GRID = planGrid({
  segmentDurationMs: 2000,
  partDurationMs: 333,
  frameRate: VIDEO.frameRate,
  sampleRateHz: 48_000,
});

function cutterFor(rendition: PlannedVideo | PlannedAudio) {
  const parts: CutPart[] = [];
  const cutter = new TrackCutter({
    rendition,
    grid: GRID,
    trackId: 1,
    arrivalBefore: (endTicks) => endTicks,
    emit: (part) => parts.push(part),
  });
  const push = (index: number, sync: boolean, data = Uint8Array.of(index & 0xff)): void =>
    cutter.push(sampleAt(rendition.frameTicks, index, sync, data));
  return { cutter, parts, push };
}
const sampleAt = (frameTicks: number, index: number, sync: boolean, data: Uint8Array): CmafSample => ({
  startTicks: index * frameTicks,
  durationTicks: frameTicks,
  compositionOffsetTicks: 0,
  sync,
  data,
});
const codeOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof TranscodeError) return error.code;
    throw error;
  }
  return 'no error';
};

describe('TrackCutter', () => {
  it('closes a part with the frame that fills it, and not later', () => {
    const { parts, push } = cutterFor(VIDEO);
    const after = Array.from({ length: 50 }, (_, index) => {
      push(index, index === 0);
      return parts.length;
    });
    // 50 frames in 6 cells: 9, 8, 8, 9, 8, 8 of them.
    expect(after.indexOf(1)).toBe(8);
    expect(after.indexOf(2)).toBe(16);
    expect(after.indexOf(6)).toBe(49);
    expect(parts.map((part) => part.durationTicks / 1000)).toEqual([9, 8, 8, 9, 8, 8]);
    expect(parts.map(({ segment, part, independent, last }) => [segment, part, independent, last])).toEqual([
      [0, 0, true, false],
      [0, 1, false, false],
      [0, 2, false, false],
      [0, 3, false, false],
      [0, 4, false, false],
      [0, 5, false, true],
    ]);
    expect(parts[0]?.arrivalUtcMs).toBe(9000);
  });

  it('gives audio the same segments and parts as video, for hours', () => {
    const video = cutterFor(VIDEO);
    const audio = cutterFor(AUDIO);
    const seconds = 3600;
    for (let index = 0; index < seconds * 25; index++) video.push(index, index % 50 === 0);
    for (let index = 0; (index * 1024) / 48_000 < seconds; index++) audio.push(index, true);
    const numbers = (parts: readonly CutPart[]) =>
      parts.map(({ segment, part, last }) => [segment, part, last]);
    const count = Math.min(video.parts.length, audio.parts.length);
    expect(count).toBeGreaterThan(seconds * 3 - 2);
    expect(numbers(audio.parts.slice(0, count))).toEqual(numbers(video.parts.slice(0, count)));
    const lengths = audio.parts.map((part) => (part.durationTicks * 1000) / 48_000);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(GRID.partTargetMs);
    expect(Math.min(...lengths)).toBeGreaterThanOrEqual(GRID.partTargetMs * 0.85);
  });

  it('writes every frame once, in order, with its time', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 20 }), { minLength: 1, maxLength: 150 }), (frames) => {
        const { cutter, parts, push } = cutterFor(VIDEO);
        frames.forEach((data, index) => push(index, index % 50 === 0, data));
        cutter.flush(true);
        const read = parts.flatMap((part) => parsePart(part.bytes, NO_DEFAULTS));
        expect(read).toEqual(frames.map((data, index) => sampleAt(1000, index, index % 50 === 0, data)));
      }),
    );
  });

  it('flushes what is open as a short last part, and nothing when nothing is', () => {
    const { cutter, parts, push } = cutterFor(VIDEO);
    for (let index = 0; index < 12; index++) push(index, index === 0);
    expect(cutter).toMatchObject({ openCell: 1, hasOpenFrames: true });
    cutter.flush(true);
    cutter.flush(true);
    expect(parts.at(-1)).toMatchObject({ segment: 0, part: 1, durationTicks: 3000, last: true });
    expect(parts.length).toBe(2);
  });

  it.each([
    ['a hole', (push: (index: number, sync: boolean) => void) => push(2, false)],
    ['a step back', (push: (index: number, sync: boolean) => void) => push(0, false)],
    ['a time between frames', (push: (index: number, sync: boolean) => void) => push(1.5, false)],
  ])('refuses %s', (_what, bad) => {
    const { push } = cutterFor(VIDEO);
    push(0, true);
    expect(codeOf(() => bad(push))).toBe('timestamps_off_grid');
  });

  it('refuses a segment that does not begin with a key frame', () => {
    const { push } = cutterFor(VIDEO);
    for (let index = 0; index < 50; index++) push(index, index === 0);
    expect(codeOf(() => push(50, false))).toBe('timestamps_off_grid');
    expect(codeOf(() => cutterFor(VIDEO).push(0, false))).toBe('timestamps_off_grid');
    const copied = cutterFor({ ...VIDEO, mode: 'copy' });
    expect(codeOf(() => copied.push(0, false))).toBe('copy_off_grid');
  });

  it('refuses a part that no origin would take', () => {
    const { push } = cutterFor(VIDEO);
    const large = new Uint8Array(3 * 1024 * 1024);
    push(0, true, large);
    push(1, false, large);
    expect(codeOf(() => push(2, false, large))).toBe('fragment_invalid');
  });
});
