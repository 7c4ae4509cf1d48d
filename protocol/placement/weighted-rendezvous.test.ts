import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { COMBINED_VECTORS, HASH_VECTORS, RANK_VECTORS } from '#protocol/placement/golden-vectors.ts';
import { combineHash64, hash64, unitInterval, type Hash64 } from '#protocol/placement/hash64.ts';
import {
  PlacementError,
  firstPrepared,
  placementKey,
  prepareNodes,
  rank,
  rankPrepared,
  type WeightedNode,
} from '#protocol/placement/weighted-rendezvous.ts';

const SESSIONS = 100_000;
const FOUR: readonly WeightedNode[] = [
  { id: 'cdn-a', weight: 50 },
  { id: 'cdn-b', weight: 30 },
  { id: 'cdn-c', weight: 15 },
  { id: 'cdn-d', weight: 5 },
];

const hex = (hash: Hash64): string =>
  hash.high.toString(16).padStart(8, '0') + hash.low.toString(16).padStart(8, '0');

/** Sessions of a fixed, arbitrary population; another seed is another population. */
const sessionId = (seed: string, index: number): string => `${seed}-${index.toString(36)}`;

function homes(nodes: readonly WeightedNode[], seed: string, salt = 'stream'): string[] {
  const prepared = prepareNodes(nodes);
  return Array.from(
    { length: SESSIONS },
    (_, i) => firstPrepared(placementKey(sessionId(seed, i), salt), prepared)?.id ?? '',
  );
}

function shareOf(list: readonly string[], id: string): number {
  return list.filter((home) => home === id).length / list.length;
}

describe('golden vectors', () => {
  it.each(HASH_VECTORS)('hash64(%j) is %s', (text, expected) => {
    expect(hex(hash64(text))).toBe(expected);
  });

  it.each(COMBINED_VECTORS)('combines %j and %j to %s', (key, node, expected, unit) => {
    const combined = combineHash64(hash64(key), hash64(node));
    expect(hex(combined)).toBe(expected);
    expect(unitInterval(combined)).toBe(unit);
  });

  it.each(RANK_VECTORS)('ranks $key on $salt as $order', ({ key, salt, weights, order }) => {
    const nodes = Object.entries(weights).map(([id, weight]) => ({ id, weight }));
    expect(rank(key, nodes, salt).map((node) => node.id)).toEqual(order);
  });
});

describe('unitInterval', () => {
  it('reaches neither 0 nor 1', () => {
    const ends = [
      { high: 0, low: 0 },
      { high: 0xffffffff, low: 0xffffffff },
    ].map(unitInterval);
    expect(ends[0]).toBeGreaterThan(0);
    expect(ends[1]).toBeLessThan(1);
    expect(ends.every((u) => Number.isFinite(1 / -Math.log(u)))).toBe(true);
  });
});

describe('shares', () => {
  it.each(['alpha', 'beta', 'gamma'])('are within 1 % of the weights over 1e5 sessions (%s)', (seed) => {
    const list = homes(FOUR, seed);
    for (const { id, weight } of FOUR) expect(Math.abs(shareOf(list, id) - weight / 100)).toBeLessThan(0.01);
  });

  it('of the second place are as if the first had never been there', () => {
    const prepared = prepareNodes(FOUR);
    const second = new Map<string, number>();
    let ofA = 0;
    for (let i = 0; i < SESSIONS; i++) {
      const order = rankPrepared(placementKey(sessionId('second', i)), prepared);
      if (order[0]?.id !== 'cdn-a') continue;
      ofA++;
      const id = order[1]?.id ?? '';
      second.set(id, (second.get(id) ?? 0) + 1);
    }
    for (const { id, weight } of FOUR.slice(1))
      expect(Math.abs((second.get(id) ?? 0) / ofA - weight / 50)).toBeLessThan(0.01);
  });

  it('of two salts are independent', () => {
    const one = homes(FOUR, 'salted', 'stream-1');
    const two = homes(FOUR, 'salted', 'stream-2');
    const both = one.filter((home, i) => home === 'cdn-a' && two[i] === 'cdn-a').length / SESSIONS;
    expect(Math.abs(both - 0.25)).toBeLessThan(0.01);
  });

  it('hold for ids that differ in one character, and for numbers counted up', () => {
    const equal = ['cdn1', 'cdn2', 'cdn3', 'cdn4', 'cdn5'].map((id) => ({ id, weight: 7 }));
    const list = homes(equal, '');
    for (const { id } of equal) expect(Math.abs(shareOf(list, id) - 0.2)).toBeLessThan(0.01);
  });
});

describe('movement', () => {
  it('of a drain is that share of the sessions, to the others by their weights', () => {
    const before = homes(FOUR, 'drain');
    const after = homes(
      FOUR.map((node) => (node.id === 'cdn-b' ? { ...node, weight: 0 } : node)),
      'drain',
    );
    const moved = before.filter((home, i) => home !== after[i]);
    expect(Math.abs(moved.length / SESSIONS - 0.3)).toBeLessThan(0.01);
    expect(new Set(moved)).toEqual(new Set(['cdn-b']));
    const gained = before.filter((home, i) => home === 'cdn-b' && after[i] === 'cdn-a').length;
    expect(Math.abs(gained / moved.length - 50 / 70)).toBeLessThan(0.02);
  });

  it('goes only to or from the node whose weight has changed', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 2, maxLength: 12 }),
        fc.nat(),
        fc.integer({ min: 0, max: 1000 }),
        fc.array(fc.string(), { minLength: 20, maxLength: 20 }),
        (weights, which, weight, keys) => {
          const nodes = weights.map((w, i) => ({ id: `n${i}`, weight: w }));
          const changed = which % nodes.length;
          const later = nodes.map((node, i) => (i === changed ? { ...node, weight } : node));
          const others = (order: WeightedNode[]): string[] =>
            order.map((node) => node.id).filter((id) => id !== `n${changed}`);
          // Stronger than the first place: the order of all the others stays as it was.
          for (const key of keys) expect(others(rank(key, later))).toEqual(others(rank(key, nodes)));
        },
      ),
    );
  });

  it('is none when all weights are multiplied, or the nodes are listed in another order', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 10 }),
        fc.string(),
        fc.constantFrom(2, 0.5, 1024),
        (weights, key, factor) => {
          const nodes = weights.map((weight, i) => ({ id: `n${i}`, weight }));
          const scaled = nodes.map((node) => ({ ...node, weight: node.weight * factor })).toReversed();
          expect(rank(key, scaled).map((n) => n.id)).toEqual(rank(key, nodes).map((n) => n.id));
        },
      ),
    );
  });
});

describe('rank', () => {
  it('lists every node once, those of weight 0 last', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string(), { maxLength: 20 }),
        fc.func(fc.constantFrom(0, 0, 1, 0.001, 1e9)),
        fc.string(),
        (ids, weightOf, key) => {
          const nodes = ids.map((id) => ({ id, weight: weightOf(id) }));
          const order = rank(key, nodes);
          expect(order.map((n) => n.id).toSorted()).toEqual(ids.toSorted());
          const drained = order.map((node) => Number(node.weight === 0));
          expect(drained).toEqual(drained.toSorted((a, b) => a - b));
          expect(firstPrepared(placementKey(key), prepareNodes(nodes))).toEqual(order[0]);
        },
      ),
    );
  });

  it.each([-1, NaN, Infinity])('refuses a weight of %s', (weight) => {
    expect(() => rank('key', [{ id: 'a', weight }])).toThrow(PlacementError);
  });

  it('refuses two nodes with one id', () => {
    expect(() =>
      rank('key', [
        { id: 'a', weight: 1 },
        { id: 'a', weight: 2 },
      ]),
    ).toThrow(expect.objectContaining({ code: 'node_id_duplicate' }));
  });
});
