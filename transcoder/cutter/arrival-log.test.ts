import { describe, expect, it } from 'vitest';
import { ArrivalLog } from '#transcoder/cutter/arrival-log.ts';

describe('ArrivalLog', () => {
  it('finds when the last frame before a time came', () => {
    const log = new ArrivalLog();
    for (const [mediaMs, arrival] of [
      [0, 1000],
      [33, 1033],
      [67, 1080],
    ] as const)
      log.add('video', mediaMs, arrival);
    expect(log.lastBefore('video', 50)).toBe(1033);
    expect(log.lastBefore('video', 67)).toBe(1033);
    expect(log.lastBefore('video', 500)).toBe(1080);
    expect(log.lastBefore('video', 0)).toBeUndefined();
    expect(log.lastBefore('audio', 50)).toBeUndefined();
    expect(log.latestMs('video')).toBe(67);
  });

  it('goes by presentation time where B-frames come out of order', () => {
    const log = new ArrivalLog();
    for (const [mediaMs, arrival] of [
      [0, 1000],
      [133, 1033],
      [67, 1067],
      [33, 1100],
      [100, 1133],
      [267, 1167],
    ] as const)
      log.add('video', mediaMs, arrival);
    expect(log.lastBefore('video', 120)).toBe(1133);
    expect(log.lastBefore('video', 90)).toBe(1067);
    expect(log.lastBefore('video', 200)).toBe(1033);
    expect(log.latestMs('video')).toBe(267);
  });

  it('forgets the oldest of a long broadcast', () => {
    const log = new ArrivalLog();
    for (let index = 0; index < 100_000; index++) log.add('audio', index * 20, index);
    expect(log.lastBefore('audio', 100_000 * 20)).toBe(99_999);
    expect(log.lastBefore('audio', 20)).toBeUndefined();
  });
});
