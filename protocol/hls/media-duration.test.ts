import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatMilliseconds, formatSeconds, toMilliseconds } from '#protocol/hls/media-duration.ts';

describe('durations as text', () => {
  it.each([
    [{ ticks: 30_000, timescale: 90_000 }, '0.33333'],
    [{ ticks: 60_060, timescale: 30_000 }, '2.00200'],
    [{ ticks: 16_384, timescale: 48_000 }, '0.34133'],
    [{ ticks: 27_540, timescale: 90_000 }, '0.30600'],
    [{ ticks: 1, timescale: 10_000_000 }, '0.00000'],
    [{ ticks: 120_000_000, timescale: 10_000_000 }, '12.00000'],
  ])('writes %o as %s', (duration, text) => {
    expect(formatSeconds(duration)).toBe(text);
  });

  it('writes whole milliseconds exactly', () => {
    expect(formatMilliseconds(342)).toBe('0.342');
    expect(formatMilliseconds(18_000)).toBe('18.000');
  });

  it('never rounds a part above PART-TARGET, nor by more than a hundredth of a millisecond below', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10_000_000 }),
        fc.integer({ min: 1, max: 2_000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (timescale, partTargetMs, share) => {
          const ticks = Math.floor((partTargetMs * timescale * share) / 1000);
          const text = formatSeconds({ ticks, timescale });
          const exactMs = toMilliseconds({ ticks, timescale });
          expect(Number(text)).toBeLessThanOrEqual(Number(formatMilliseconds(partTargetMs)));
          expect(Number(text) * 1000).toBeLessThanOrEqual(exactMs + 1e-9);
          expect(Number(text) * 1000).toBeGreaterThan(exactMs - 0.0100001);
        },
      ),
      { verbose: 1 },
    );
  });
});
