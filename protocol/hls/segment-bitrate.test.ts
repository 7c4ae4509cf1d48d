import { describe, expect, it } from 'vitest';
import { averageBitrate, peakBitrateAtEnd } from '#protocol/hls/segment-bitrate.ts';

const segment = (bytes: number, seconds: number) => ({
  bytes,
  duration: { ticks: seconds * 1000, timescale: 1000 },
});

describe('§4.1 segment bit rates', () => {
  it('takes the largest rate of the sets of 0.5 TD to 1.5 TD + 0.5 s that end with the newest segment', () => {
    // Alone 8 kb/s; together with the one before (2000 + 1000 bytes in 3 s): 8 kb/s; the first is too far away.
    expect(peakBitrateAtEnd([segment(90_000, 2), segment(2_000, 2), segment(1_000, 1)], 2)).toBe(8_000);
    expect(peakBitrateAtEnd([segment(4_000, 2), segment(1_000, 1)], 2)).toBe(Math.ceil((5_000 * 8) / 3));
  });

  it('does not take a short rest for a peak', () => {
    expect(peakBitrateAtEnd([segment(1_000, 0.3)], 2)).toBeUndefined();
    expect(peakBitrateAtEnd([segment(2_000, 2), segment(1_000, 0.3)], 2)).toBe(Math.ceil((3_000 * 8) / 2.3));
  });

  it('divides all bytes by all seconds', () => {
    expect(averageBitrate([segment(1_000, 2), segment(3_000, 2)])).toBe(8_000);
    expect(averageBitrate([])).toBeUndefined();
  });
});
