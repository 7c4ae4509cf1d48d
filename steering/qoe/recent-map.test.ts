import { describe, expect, it } from 'vitest';
import { RecentMap } from '#steering/qoe/recent-map.ts';

describe('RecentMap', () => {
  it('keeps the last half for sure, and never more than its limit', () => {
    const map = new RecentMap<number, number>(100);
    for (let key = 0; key < 1_000; key++) {
      map.set(key, key);
      expect(map.size).toBeLessThanOrEqual(100);
    }
    for (let key = 950; key < 1_000; key++) expect(map.get(key)).toBe(key);
    expect(map.get(0)).toBeUndefined();
  });

  it('keeps what is looked up', () => {
    const map = new RecentMap<string, string>(10);
    map.set('kept', 'x');
    for (let key = 0; key < 1_000; key++) {
      map.set(`other ${key}`, 'y');
      expect(map.get('kept')).toBe('x');
    }
  });
});
