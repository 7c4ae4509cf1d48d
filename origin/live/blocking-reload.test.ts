import { describe, expect, it } from 'vitest';
import { blockingGoal, type PlaylistEdge } from '#origin/live/blocking-reload.ts';

/** Segments of six parts of a third of a second: the Advance Part Limit is 9. */
const LIMITS = { partsPerSegment: 6, partTargetMs: 333 };
const edge = (lastSegmentMsn: number, msn: number, part: number, ended = false): PlaylistEdge => ({
  lastSegmentMsn,
  lastPart: { msn, part },
  ended,
});
/** Segment 10 is complete, two parts of segment 11 are in. */
const MID = edge(10, 11, 1);
/** Segment 10 is complete, nothing of segment 11 is in. */
const BETWEEN = edge(10, 10, 5);

/** The first of these moments at which the request is answered. */
function answeredAt(from: PlaylistEdge, msn: number, part: number | undefined): string {
  const goal = blockingGoal(from, { msn, part }, LIMITS);
  const moments: [string, PlaylistEdge][] = [
    ['now', from],
    ['11.0', edge(10, 11, 0)],
    ['11.2', edge(10, 11, 2)],
    ['11 complete', edge(11, 11, 5)],
    ['12.0', edge(11, 12, 0)],
    ['12.3', edge(11, 12, 3)],
    ['12 complete', edge(12, 12, 5)],
    ['13.0', edge(12, 13, 0)],
    ['13 complete', edge(13, 13, 5)],
    ['ended', edge(13, 13, 5, true)],
  ];
  return moments.find(([, moment]) => goal.isMet(moment))?.[0] ?? 'never';
}

describe('§6.2.5.2 which version of a playlist answers a request', () => {
  it.each([
    ['a part that is listed', MID, 11, 1, 'now'],
    ['an old part', MID, 7, 3, 'now'],
    ['a segment that left the playlist', MID, 1, undefined, 'now'],
    ['the next part', MID, 11, 2, '11.2'],
    ['the last part of the open segment', MID, 11, 5, '11 complete'],
    ['a part beyond the open segment (B3)', MID, 11, 6, '12.0'],
    ['a part beyond a complete segment (B3)', BETWEEN, 10, 6, '11.0'],
    ['a part far beyond a complete segment (B3)', BETWEEN, 10, 1_000, '11.0'],
    ['a part beyond an older segment (B3)', MID, 9, 17, 'now'],
    ['the first part of the next segment', MID, 12, 0, '12.0'],
    ['a later part of the next segment', MID, 12, 3, '12.3'],
    ['a complete segment', MID, 10, undefined, 'now'],
    ['an open segment as a whole', MID, 11, undefined, '11 complete'],
    ['a segment that has not begun', BETWEEN, 11, undefined, '11.0'],
    ['the segment after the open one', MID, 12, undefined, '12 complete'],
    ['the last segment that may be asked for', MID, 13, undefined, '13 complete'],
  ])('%s', (_, from, msn, part, moment) => {
    expect(answeredAt(from, msn, part)).toBe(moment);
  });

  it('answers everything when the playlist has ended', () => {
    expect(answeredAt(edge(10, 10, 5, true), 99, 99)).toBe('now');
  });
});

describe('§6.2.5.2 which requests are too far ahead', () => {
  it.each([
    [MID, 14],
    [BETWEEN, 14],
    [MID, 999_999_999_999_999],
  ])('refuses %o for segment %i', (from, msn) => {
    const ask = (): unknown => blockingGoal(from, { msn, part: undefined }, LIMITS);
    expect(ask).toThrow(expect.objectContaining({ status: 400, code: 'msn_too_far' }));
  });

  it.each([
    // PART-TARGET, parts of a segment, the furthest part of a segment that has not begun
    [200, 10, 14],
    [333, 6, 8],
    [500, 4, 5],
    [1000, 2, 2],
    [1000, 6, 5],
    [2000, 1, 2],
  ])('PART-TARGET %i ms, %i parts: takes part %i and refuses the one after', (partTargetMs, parts, last) => {
    const limits = { partTargetMs, partsPerSegment: parts };
    expect(blockingGoal(BETWEEN, { msn: 11, part: last }, limits).key).toBe(`part 11.${last}`);
    expect(() => blockingGoal(BETWEEN, { msn: 11, part: last + 1 }, limits)).toThrow(
      expect.objectContaining({ status: 400, code: 'part_too_far' }),
    );
  });

  it('counts from the last part of the open segment', () => {
    expect(blockingGoal(MID, { msn: 11, part: 10 }, LIMITS).key).toBe('part 11.10');
    expect(() => blockingGoal(MID, { msn: 11, part: 11 }, LIMITS)).toThrow(
      expect.objectContaining({ code: 'part_too_far' }),
    );
  });
});
