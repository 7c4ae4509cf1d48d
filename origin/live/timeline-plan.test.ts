import { describe, expect, it } from 'vitest';
import { firstMsnOf, timelineStartUtcMs } from '#origin/live/timeline-plan.ts';

const NOW = Date.UTC(2026, 0, 1);

describe('the first MSN of a timeline', () => {
  const plan = { anchorUtcMs: NOW - 300, nowUtcMs: NOW, segmentMs: 2_000, lastNumber: 0 };

  it('is the wall clock counted in segments', () => {
    expect(firstMsnOf(plan)).toBe(NOW / 2_000 - 1);
    expect(firstMsnOf({ ...plan, segmentMs: 2_002 })).toBe(Math.floor((NOW - 300) / 2_002));
  });

  it('is never a number that was used', () => {
    expect(firstMsnOf({ ...plan, lastNumber: NOW })).toBe(NOW + 1);
  });

  it('is not pushed into the future by a transcoder whose clock is ahead', () => {
    expect(firstMsnOf({ ...plan, anchorUtcMs: NOW + 86_400_000 })).toBe(NOW / 2_000);
  });

  it('is at least 1', () => {
    expect(firstMsnOf({ anchorUtcMs: 0, nowUtcMs: 0, segmentMs: 2_000, lastNumber: 0 })).toBe(1);
  });
});

describe('§6.2.1 the wall clock of a timeline', () => {
  it('is its anchor', () => {
    expect(timelineStartUtcMs(NOW, undefined)).toBe(NOW);
    expect(timelineStartUtcMs(NOW, { utcMs: NOW - 5_000, segmentMs: 2_000 })).toBe(NOW);
  });

  it('may step back by less than a second, and only into a part of the last segment', () => {
    expect(timelineStartUtcMs(NOW, { utcMs: NOW + 500, segmentMs: 2_000 })).toBe(NOW);
    expect(timelineStartUtcMs(NOW, { utcMs: NOW + 60_000, segmentMs: 2_000 })).toBe(NOW + 59_100);
    expect(timelineStartUtcMs(NOW, { utcMs: NOW + 60_000, segmentMs: 400 })).toBe(NOW + 59_800);
  });
});
