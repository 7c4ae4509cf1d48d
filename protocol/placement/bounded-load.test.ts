import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rankWithinBound } from '#protocol/placement/bounded-load.ts';
import { fitCapacity } from '#protocol/placement/capacity-shares.ts';
import { placementKey, prepareNodes, firstPrepared, rank } from '#protocol/placement/weighted-rendezvous.ts';

describe('rankWithinBound', () => {
  it('keeps every node within the factor of its fair share while keys come in', () => {
    const nodes = [
      { id: 'a', weight: 1, load: 0 },
      { id: 'b', weight: 1, load: 0 },
      { id: 'c', weight: 2, load: 0 },
    ];
    let away = 0;
    for (let i = 0; i < 4_000; i++) {
      const key = `stream-${i}`;
      const target = rankWithinBound(key, nodes, { factor: 1.05 }).withRoom[0];
      if (target === undefined) throw new Error('no node has room');
      if (target.id !== rank(key, nodes)[0]?.id) away++;
      target.load++;
    }
    expect(nodes.map((node) => node.load / (1_000 * node.weight)).every((share) => share <= 1.06)).toBe(true);
    expect(away / 4_000).toBeLessThan(0.15);
  });

  it('always has room somewhere, at any loads and weights', () => {
    const node = fc.record({ weight: fc.integer({ min: 1, max: 100 }), load: fc.nat(1_000) });
    fc.assert(
      fc.property(fc.array(node, { minLength: 1, maxLength: 20 }), fc.string(), (list, key) => {
        const nodes = list.map((entry, i) => ({ id: `n${i}`, ...entry }));
        const { withRoom, full } = rankWithinBound(key, nodes, { factor: 1 });
        expect(withRoom.length).toBeGreaterThan(0);
        expect(withRoom.length + full.length).toBe(nodes.length);
      }),
    );
  });

  it('passes over a node at its own capacity and keeps the order of the key', () => {
    const nodes = ['a', 'b', 'c', 'd'].map((id) => ({ id, weight: 1, load: 0 }));
    const order = rank('key', nodes).map((node) => node.id);
    const limited = nodes.map((node) => (node.id === order[0] ? { ...node, capacity: 0 } : node));
    const { withRoom, full } = rankWithinBound('key', limited);
    expect(withRoom.map((node) => node.id)).toEqual(order.slice(1));
    expect(full.map((node) => node.id)).toEqual(order.slice(0, 1));
  });

  it('refuses a factor below 1', () => {
    expect(() => rankWithinBound('key', [], { factor: 0.9 })).toThrow(RangeError);
  });
});

describe('fitCapacity', () => {
  const capacity = fc.oneof(fc.constant(Infinity), fc.integer({ min: 1, max: 1_000 }));
  const nodesArbitrary = fc
    .array(fc.record({ weight: fc.integer({ min: 0, max: 100 }), capacity }), {
      minLength: 1,
      maxLength: 10,
    })
    .map((list) => list.map((entry, i) => ({ id: `n${i}`, ...entry })));
  const everywhere = (nodes: readonly unknown[]): number[] => nodes.map((_, i) => i);
  const roomOf = (nodes: readonly { weight: number; capacity: number }[]): number =>
    nodes.reduce((sum, node) => sum + (node.weight > 0 ? node.capacity : 0), 0);

  it('leaves no node above what it can carry while the demand fits, and loses none of the demand', () => {
    fc.assert(
      fc.property(nodesArbitrary, fc.integer({ min: 0, max: 5_000 }), (nodes, amount) => {
        const { factors, loads } = fitCapacity(nodes, [{ amount, nodes: everywhere(nodes) }]);
        expect(factors.every((factor) => factor > 0 && factor <= 1)).toBe(true);
        const total = loads.reduce((sum, load) => sum + load, 0);
        expect(total).toBeCloseTo(nodes.some((node) => node.weight > 0) ? amount : 0, 6);
        const slack = 1.02;
        const above = nodes.filter((node, i) => (loads[i] ?? 0) > node.capacity * slack);
        expect(amount * slack < roomOf(nodes) ? above : []).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  it('lowers a node only as far as it must', () => {
    fc.assert(
      fc.property(nodesArbitrary, fc.integer({ min: 0, max: 5_000 }), (nodes, amount) => {
        const { factors, loads } = fitCapacity(nodes, [{ amount, nodes: everywhere(nodes) }]);
        const idle = nodes.filter(
          (node, i) => (factors[i] ?? 1) < 0.999 && (loads[i] ?? 0) < node.capacity * 0.98,
        );
        expect(idle).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  it('leaves every weight alone while nothing is full', () => {
    const nodes = [
      { id: 'a', weight: 3, capacity: 80 },
      { id: 'b', weight: 1, capacity: 30 },
    ];
    expect(fitCapacity(nodes, [{ amount: 100, nodes: [0, 1] }])).toEqual({
      factors: [1, 1],
      loads: [75, 25],
      excess: 0,
    });
  });

  it('goes on filling when the overflow of one fills the next', () => {
    const nodes = [
      { id: 'a', weight: 2, capacity: 20 },
      { id: 'b', weight: 1, capacity: 30 },
      { id: 'c', weight: 1, capacity: Infinity },
    ];
    const { loads } = fitCapacity(nodes, [{ amount: 100, nodes: [0, 1, 2] }]);
    expect(loads.map(Math.round)).toEqual([20, 30, 50]);
  });

  it('overloads all alike when nothing is left, and says by how much', () => {
    const nodes = [
      { id: 'a', weight: 9, capacity: 10 },
      { id: 'b', weight: 1, capacity: 30 },
    ];
    const { loads, excess } = fitCapacity(nodes, [{ amount: 80, nodes: [0, 1] }]);
    expect(loads.map(Math.round)).toEqual([20, 60]);
    expect(Math.round(excess)).toBe(40);
  });

  it('makes room for those who have no other choice', () => {
    const nodes = [
      { id: 'world', weight: 1, capacity: 60 },
      { id: 'german', weight: 1, capacity: Infinity },
    ];
    const { loads } = fitCapacity(nodes, [
      { amount: 50, nodes: [0] },
      { amount: 50, nodes: [0, 1] },
    ]);
    expect(loads.map(Math.round)).toEqual([60, 40]);
  });

  it('moves real sessions from the full node only, to the next in their own order', () => {
    const nodes = [
      { id: 'a', weight: 50, capacity: 2_000 },
      { id: 'b', weight: 30, capacity: Infinity },
      { id: 'c', weight: 20, capacity: Infinity },
    ];
    const { factors } = fitCapacity(nodes, [{ amount: 10_000, nodes: [0, 1, 2] }]);
    const lowered = prepareNodes(nodes.map((n, i) => ({ id: n.id, weight: n.weight * (factors[i] ?? 0) })));
    let onA = 0;
    const wrong: string[] = [];
    for (let i = 0; i < 10_000; i++) {
      const order = rank(`session-${i}`, nodes).map((node) => node.id);
      const home = firstPrepared(placementKey(`session-${i}`), lowered)?.id;
      if (home === 'a') onA++;
      if (home !== order[0] && (order[0] !== 'a' || home !== order[1])) wrong.push(`session-${i}`);
    }
    expect(wrong).toEqual([]);
    expect(Math.abs(onA - 2_000)).toBeLessThan(150);
  });
});
