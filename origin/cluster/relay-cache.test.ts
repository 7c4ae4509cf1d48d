import { describe, expect, it } from 'vitest';
import { RELAY_ENTRIES_MAX, RelayCache } from '#origin/cluster/relay-cache.ts';

describe('the cache of a relay', () => {
  it('gives out what it has until its time has run out', () => {
    const cache = new RelayCache<string>(100);
    cache.put('a', 'A', 10, 0, 50);
    expect(cache.get('a', 49)).toBe('A');
    expect(cache.get('a', 50)).toBeUndefined();
    expect(cache).toMatchObject({ bytes: 0, size: 0 });
  });

  it('never keeps more bytes than it may, and drops what was used longest ago', () => {
    const cache = new RelayCache<string>(100);
    for (const key of ['a', 'b', 'c']) cache.put(key, key, 30, 0, 1_000);
    cache.get('a', 1);
    cache.put('d', 'd', 30, 1, 1_000);
    expect(['a', 'b', 'c', 'd'].map((key) => cache.get(key, 2))).toEqual(['a', undefined, 'c', 'd']);
    expect(cache.bytes).toBe(90);
    cache.put('huge', 'huge', 101, 2, 1_000);
    expect(cache.get('huge', 2)).toBeUndefined();
    expect(cache.bytes).toBe(90);
  });

  it('counts a replaced value once', () => {
    const cache = new RelayCache<string>(100);
    cache.put('a', '1', 60, 0, 1_000);
    cache.put('a', '2', 70, 0, 1_000);
    expect(cache.get('a', 1)).toBe('2');
    expect(cache.bytes).toBe(70);
  });

  it('bounds its entries, too', () => {
    const cache = new RelayCache<number>(100);
    for (let key = 0; key <= RELAY_ENTRIES_MAX; key++) cache.put(String(key), key, 0, 0, 1_000);
    expect(cache.size).toBe(RELAY_ENTRIES_MAX);
    expect(cache.get('0', 1)).toBeUndefined();
  });
});
