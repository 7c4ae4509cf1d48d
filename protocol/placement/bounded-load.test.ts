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

  it('leaves no node above what it can carry while the demand fits, and loses none of the demand', () => {
    fc.assert(
      fc.property(nodesArbitrary, fc.integer({ min: 0, max: 5_000 }), (nodes, demand) => {
        const { factors, loads, excess } = fitCapacity(nodes, demand);
        expect(factors.every((factor) => factor >= 0 && factor <= 1)).toBe(true);
        const total = loads.reduce((sum, load) => sum + load, 0);
        expect(total).toBeCloseTo(nodes.some((node) => node.weight > 0) ? demand : 0, 6);
        const above = nodes.filter((node, i) => (loads[i] ?? 0) > node.capacity + 1e-6);
        expect(excess === 0 ? above : []).toEqual([]);
        // The loads are what the lowered weights give.
        const weights = nodes.map((node, i) => node.weight * (factors[i] ?? 0));
        const sum = weights.reduce((a, b) => a + b, 0) || 1;
        weights.forEach((w, i) => expect((w / sum) * demand).toBeCloseTo(loads[i] ?? -1, 5));
      }),
    );
  });

  it('leaves every weight alone while nothing is full', () => {
    const nodes = [
      { id: 'a', weight: 3, capacity: 80 },
      { id: 'b', weight: 1, capacity: 30 },
    ];
    expect(fitCapacity(nodes, 100)).toEqual({ factors: [1, 1], loads: [75, 25], excess: 0 });
  });

  it('goes on filling when the overflow of one fills the next', () => {
    const nodes = [
      { id: 'a', weight: 2, capacity: 20 },
      { id: 'b', weight: 1, capacity: 30 },
      { id: 'c', weight: 1, capacity: Infinity },
    ];
    expect(fitCapacity(nodes, 100).loads.map(Math.round)).toEqual([20, 30, 50]);
  });

  it('overloads all alike when nothing is left, and says by how much', () => {
    const nodes = [
      { id: 'a', weight: 9, capacity: 10 },
      { id: 'b', weight: 1, capacity: 30 },
    ];
    const { loads, excess } = fitCapacity(nodes, 80);
    expect(loads).toEqual([20, 60]);
    expect(excess).toBe(40);
  });

  it('moves real sessions from the full node only, to the next in their own order', () => {
    const nodes = [
      { id: 'a', weight: 50, capacity: 2_000 },
      { id: 'b', weight: 30, capacity: Infinity },
      { id: 'c', weight: 20, capacity: Infinity },
    ];
    const { factors } = fitCapacity(nodes, 10_000);
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
