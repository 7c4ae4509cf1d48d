import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readMediaPlaylist } from '#protocol/hls/read-media-playlist.ts';
import {
  ageScore,
  freshnessScore,
  frozenAfterS,
  scoreOn,
  secondsBehind,
} from '#steering/probe/probe-scores.ts';

const PART_S = 0.5;

/** A playlist with 2 s segments of 4 parts that ends after `parts` parts from segment 10 on. */
function playlist(parts: number): ReturnType<typeof readMediaPlaylist> {
  const lines = [
    '#EXTM3U',
    '#EXT-X-TARGETDURATION:2',
    `#EXT-X-PART-INF:PART-TARGET=${PART_S}`,
    '#EXT-X-MEDIA-SEQUENCE:8',
    '#EXTINF:2,',
    '8.m4s',
    '#EXTINF:2,',
    '9.m4s',
  ];
  for (let part = 0; part < parts; part++) {
    const msn = 10 + Math.floor(part / 4);
    lines.push(`#EXT-X-PART:DURATION=${PART_S},URI="${msn}.${part % 4}.m4s"`);
    if (part % 4 === 3) lines.push('#EXTINF:2,', `${msn}.m4s`);
  }
  return readMediaPlaylist(lines.join('\n'));
}

describe('secondsBehind', () => {
  const reference = playlist(6);
  it.each<[string, { msn: number; part: number } | undefined, number]>([
    ['the same part', { msn: 11, part: 1 }, 0],
    ['one part behind', { msn: 11, part: 0 }, 0.5],
    ['the part before a boundary', { msn: 10, part: 3 }, 1],
    ['a segment behind', { msn: 10, part: 1 }, 2],
    ['before the parts', { msn: 9, part: 9 }, 3],
    ['before everything', { msn: 3, part: 0 }, 7],
    ['nothing at all', undefined, 7],
    ['ahead', { msn: 12, part: 0 }, 0],
  ])('of %s', (_, position, expected) => {
    expect(secondsBehind(reference, position)).toBeCloseTo(expected);
  });

  it('never shrinks when the reference grows', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 40 }), (at, more) => {
        const position = { msn: 10 + Math.floor((at - 1) / 4), part: (at - 1) % 4 };
        expect(secondsBehind(playlist(at), position)).toBe(0);
        expect(secondsBehind(playlist(at + more), position)).toBeCloseTo(more * PART_S);
      }),
    );
  });
});

describe('scores', () => {
  it('are linear between the ends of a scale, either way round', () => {
    expect([0, 100, 150, 200, 999].map((value) => scoreOn(value, { good: 100, bad: 200 }))).toEqual([
      1, 1, 0.5, 0, 0,
    ]);
    expect([0, 0.5, 1, 9].map((value) => scoreOn(value, { good: 1, bad: 0 }))).toEqual([0, 0.5, 1, 1]);
  });

  it('of freshness are full for what a cache may hold, and 0 where it is frozen', () => {
    const reference = playlist(6);
    expect(freshnessScore(reference, 0)).toBe(1);
    expect(freshnessScore(reference, 1 + PART_S)).toBe(1);
    expect(freshnessScore(reference, frozenAfterS(reference))).toBe(0);
    expect(frozenAfterS(reference)).toBe(3);
  });

  it.each<[string | undefined, number, number]>([
    [undefined, 0, 1],
    ['0', 0, 1],
    ['2', 0.4, 1],
    ['3', 3, 1],
    ['60', 0, 0],
    ['0', 60, 0],
    ['-1', 0, 0],
    ['1.5', 0, 0],
    ['', 0, 0],
  ])('of an Age of %j with content %d s behind: %d', (header, behindS, expected) => {
    expect(ageScore(header, behindS, 2)).toBe(expected);
  });
});
