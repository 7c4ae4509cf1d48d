import { describe, expect, it } from 'vitest';
import { shownLatencyS } from './shown-latency.ts';

describe('shownLatencyS', () => {
  it.each([
    ['nothing without a playlist', undefined, 1, undefined],
    ['the distance to the edge without a date', 0.8, undefined, 0.8],
    ['the wall clock where it can be believed', 0.8, 0.95, 0.95],
    ['the distance to the edge when the clock is slow', 0.8, -40, 0.8],
    ['the distance to the edge when the clock is fast', 0.8, 61, 0.8],
  ])('is %s', (_name, latencyS, wallClockLatencyS, shown) => {
    expect(shownLatencyS({ latencyS, wallClockLatencyS })).toBe(shown);
  });
});
