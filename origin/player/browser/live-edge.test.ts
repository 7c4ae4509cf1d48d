import type { LevelDetails } from 'hls.js';
import { describe, expect, it } from 'vitest';
import { endsInGap, entryBehindGapS, isOver } from './live-edge.ts';

const PART_S = 0.5;

/**
 * A playlist that begins at 100 s: one character for each part of half a second, four to a segment; `i` independent, `.` not,
 * `g` a gap.
 */
function playlist(parts: string, live = true): LevelDetails {
  const partList = parts.split('').map((kind, index) => ({
    start: 100 + index * PART_S,
    end: 100 + (index + 1) * PART_S,
    gap: kind === 'g',
    independent: kind === 'i',
  }));
  const fragments = Array.from({ length: Math.floor(parts.length / 4) }, (_, index) => ({
    end: 100 + (index + 1) * 4 * PART_S,
    gap: parts.slice(index * 4, index * 4 + 4).includes('g'),
  }));
  return {
    live,
    partList,
    fragments,
    edge: 100 + parts.length * PART_S,
    age: 0,
    partTarget: PART_S,
    partHoldBack: 3 * PART_S,
  } as unknown as LevelDetails;
}

describe('endsInGap', () => {
  it.each([
    ['i...i..', false],
    ['i...i.g', true],
    ['i...gggg', true],
    ['i...ggggi', false],
  ])('of %s is %s', (parts, expected) => {
    expect(endsInGap(playlist(parts))).toBe(expected);
  });
});

describe('entryBehindGapS', () => {
  it.each([
    ['no gap', 'i...i...', undefined],
    ['nothing behind the gap', 'i...gggg', undefined],
    ['too little behind the gap', 'i...ggggi', undefined],
    ['enough behind the gap', 'i...ggggi.', 104.01],
    ['the second gap', 'i.ggi.ggi...', 104.5],
    ['a stream that cannot be entered yet', 'i.gg....', undefined],
    ['more than the hold-back behind the gap: no earlier than that', 'i...ggggi...i...', 106.5],
  ])('with %s', (_name, parts, expected) => {
    const entry = entryBehindGapS(playlist(parts), 101.9);
    expect(entry === undefined ? undefined : Number(entry.toFixed(3))).toBe(expected);
  });

  it('is nothing when playback is past the gap, or the playlist has ended', () => {
    expect(entryBehindGapS(playlist('i...ggggi...'), 104.2)).toBeUndefined();
    expect(entryBehindGapS(playlist('i...ggggi...', false), 101.9)).toBeUndefined();
  });
});

describe('isOver', () => {
  it.each([
    ['live', 'i...i...', true, 104, false],
    ['before its end', 'i...i...', false, 102, false],
    ['at its end', 'i...i...', false, 103.9, true],
    ['with only gaps to come', 'i...gggggggg', false, 101.95, true],
    ['with more behind a gap', 'i...ggggi...', false, 101.95, false],
  ])('of a playlist that is %s', (_name, parts, live, currentTimeS, expected) => {
    expect(isOver(playlist(parts, live), currentTimeS)).toBe(expected);
  });
});
