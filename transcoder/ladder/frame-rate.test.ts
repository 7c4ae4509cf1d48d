import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseFrameRate, fpsOf, measureFps, videoTimescale } from '#transcoder/ladder/frame-rate.ts';

const none: readonly number[] = [];
const times = (fps: number, count: number): number[] =>
  Array.from({ length: count }, (_, index) => Math.round((index * 1000) / fps));

describe('chooseFrameRate', () => {
  it.each([
    ['the VUI as it is', { vui: { numerator: 30_000, denominator: 1001 } }, [30_000, 1001]],
    ['a sloppy 29.97', { vui: { numerator: 2997, denominator: 100 } }, [30_000, 1001]],
    ['23.976 of the metadata', { metadata: 23.976 }, [24_000, 1001]],
    ['59.94 of the metadata', { metadata: 59.94 }, [60_000, 1001]],
    ['the VUI before the metadata', { vui: { numerator: 25, denominator: 1 }, metadata: 30 }, [25, 1]],
    ['an unusual whole number', { metadata: 40 }, [40, 1]],
    ['half of 120', { metadata: 120 }, [60, 1]],
    ['half of 100', { metadata: 100 }, [50, 1]],
    ['half of 119.88', { vui: { numerator: 120_000, denominator: 1001 } }, [60_000, 1001]],
    ['60 for 144', { metadata: 144 }, [60, 1]],
    ['twice 5', { metadata: 5 }, [10, 1]],
    ['twice 7.5', { metadata: 7.5 }, [15, 1]],
    [
      'the metadata when the VUI is a timer',
      { vui: { numerator: 90_000, denominator: 1 }, metadata: 30 },
      [30, 1],
    ],
  ])('takes %s', (_what, clues, [numerator, denominator]) => {
    expect(chooseFrameRate({ ...clues, presentationTimesMs: none })).toEqual({ numerator, denominator });
  });

  it.each([
    ['nothing', {}],
    ['a metadata of 0', { metadata: 0 }],
    ['a metadata that is no number', { metadata: Number.NaN }],
    ['a metadata of variable rate', { metadata: 1000 }],
  ])('waits for a measurement when there is %s', (_what, clues) => {
    expect(chooseFrameRate({ ...clues, presentationTimesMs: times(30, 7) })).toBeUndefined();
    expect(chooseFrameRate({ ...clues, presentationTimesMs: times(30, 8) })).toEqual({
      numerator: 30,
      denominator: 1,
    });
  });

  it('believes the measurement when the claim contradicts it', () => {
    const clues = { vui: { numerator: 60, denominator: 1 }, presentationTimesMs: times(30, 10) };
    expect(chooseFrameRate(clues)).toEqual({ numerator: 30, denominator: 1 });
    expect(chooseFrameRate({ ...clues, presentationTimesMs: times(59.94, 10) })).toEqual(clues.vui);
  });

  it('always gives a rate from 10 to 60 fps with whole ticks', () => {
    fc.assert(
      fc.property(
        fc.option(fc.double({ min: 0.5, max: 500, noNaN: true }), { nil: undefined }),
        fc.option(fc.double({ min: -10, max: 1e6 }), { nil: undefined }),
        fc.array(fc.integer({ min: 0, max: 5000 }), { maxLength: 30 }),
        (vuiFps, metadata, presentationTimesMs) => {
          const vui =
            vuiFps === undefined
              ? undefined
              : { numerator: Math.max(1, Math.round(vuiFps * 1000)), denominator: 1000 };
          const rate = chooseFrameRate({ vui, metadata, presentationTimesMs });
          const known = rate ?? { numerator: 30, denominator: 1 };
          expect(fpsOf(known)).toBeGreaterThanOrEqual(9.9);
          expect(fpsOf(known)).toBeLessThanOrEqual(60);
          const { timescale, frameTicks } = videoTimescale(known);
          expect(frameTicks / timescale).toBeCloseTo(known.denominator / known.numerator, 12);
          expect(Number.isInteger(timescale) && Number.isInteger(frameTicks)).toBe(true);
        },
      ),
    );
  });
});

describe('measureFps', () => {
  it.each([10, 24, 25, 30, 50, 60])('finds %d fps in millisecond timestamps', (fps) => {
    expect(measureFps(times(fps, 12))).toBeGreaterThan(fps * 0.98);
    expect(measureFps(times(fps, 12))).toBeLessThan(fps * 1.02);
  });

  it('does not mind the order of B-frames, nor a frame that is missing', () => {
    const shuffled = [0, 100, 33, 67, 200, 133, 167, 300, 233, 400, 367];
    expect(Math.round(measureFps(shuffled) ?? 0)).toBe(30);
  });

  it('says nothing of times that stand still', () => {
    expect(measureFps(Array.from({ length: 20 }, () => 5))).toBeUndefined();
  });
});
