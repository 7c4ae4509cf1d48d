import { describe, expect, it } from 'vitest';
import { RenditionIndex } from '#origin/recording/rendition-index.ts';
import { fromRow, PAGE_SEGMENTS, toRow, type SegmentEntry } from '#origin/recording/segment-entry.ts';

function entry(msn: number): SegmentEntry {
  const digest = `digest of ${msn}`;
  return {
    msn,
    durationTicks: 180_000,
    timescale: 90_000,
    bytes: 1_000 + msn,
    startUtcMs: msn * 2_000 + 0.25,
    discontinuity: msn % 7 === 0,
    discontinuityNumber: Math.floor(msn / 7),
    initTimeline: 1,
    digest,
    parts: [{ durationTicks: 180_000, independent: true, bytes: 1_000 + msn, digest }],
  };
}

describe('RenditionIndex', () => {
  it('writes what is settled, up to the first segment that waits, and nothing twice', () => {
    const index = new RenditionIndex();
    for (let msn = 10; msn < 20; msn++) index.add(entry(msn), 'waiting');
    index.settle(11, 'stored');
    expect(index.unwritten(10)).toEqual([]);
    index.settle(10, 'stored');
    const [page] = index.unwritten(10);
    expect(page).toMatchObject({ page: 0, beforeMsn: 12 });
    expect(page?.rows.map((row) => fromRow(row).msn)).toEqual([10, 11]);
    expect(index.written(12)).toEqual([10, 11]);
    expect(index.unwritten(10)).toEqual([]);
    expect(index.isWritten).toBe(false);
  });

  it('gives the same back that was written', () => {
    const index = new RenditionIndex();
    for (let msn = 1; msn <= 100; msn++) index.add(entry(msn), 'stored');
    const pages = index.unwritten(10);
    expect(pages.map(({ page }) => page)).toEqual([0, 1, 2, 3]);
    const again = new RenditionIndex();
    again.load(pages.flatMap(({ rows }) => rows.map((row) => fromRow(JSON.parse(JSON.stringify(row))))));
    const withoutParts = index.entries.map((known) => ({
      ...known,
      parts: known.msn > 97 ? known.parts : [],
    }));
    expect(again.entries).toEqual(withoutParts);
    expect(again.isWritten).toBe(true);
  });

  it('fills what is missing with gaps, so that no number is left out', () => {
    const index = new RenditionIndex();
    index.add(entry(1), 'stored');
    expect(index.add(entry(4), 'stored')).toBe(2);
    expect(index.entries.map(({ msn, bytes }) => [msn, bytes])).toEqual([
      [1, 1_001],
      [2, 0],
      [3, 0],
      [4, 1_004],
    ]);
    expect(() => index.add(entry(4), 'stored')).toThrow(/indexed after/);
  });

  it('lists what is lost as a gap', () => {
    const index = new RenditionIndex();
    index.add(entry(1), 'waiting');
    index.settle(1, 'lost');
    expect(index.find(1)).toMatchObject({
      place: 'lost',
      entry: { bytes: 0, digest: '', durationTicks: 180_000 },
    });
  });

  it('forgets whole pages that the database has, and goes on', () => {
    const index = new RenditionIndex();
    const count = PAGE_SEGMENTS * 4;
    for (let msn = 0; msn < count; msn++) index.add(entry(msn), 'stored');
    index.forgetBefore(Number.POSITIVE_INFINITY);
    expect(index.entries).toHaveLength(count);
    for (const { beforeMsn } of index.unwritten(10)) index.written(beforeMsn);
    index.forgetBefore((PAGE_SEGMENTS + 5) * 2_000);
    expect(index.oldestMsn).toBe(PAGE_SEGMENTS);
    index.add(entry(count), 'stored');
    expect(index.unwritten(10)).toHaveLength(1);
    expect(index.find(count)?.entry.msn).toBe(count);
  });
});

describe('a row of the index', () => {
  it('is refused when it was not written by us', () => {
    const row = toRow(entry(1), true);
    expect(fromRow(row)).toEqual(entry(1));
    for (const bad of [null, [], [1, 2], row.slice(0, -1), row.with(0, 'x'), row.with(2, 0)])
      expect(() => fromRow(bad)).toThrow(/\[/);
  });
});
