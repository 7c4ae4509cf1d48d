import { describe, expect, it } from 'vitest';
import { simulateChange } from '#steering/simulation/simulate-change.ts';
import { snapshotCdn, snapshotOf } from '#tests/support/steering-fixtures.ts';

const sessions = Array.from({ length: 10_000 }, (_, i) => ({
  sessionId: `s${i}`,
  streamId: `stream-${i % 3}`,
  generation: 0,
  country: i % 2 === 0 ? 'DE' : 'FR',
  asn: undefined,
}));
const weights = (change: Record<string, number>) =>
  snapshotOf(Object.entries(change).map(([name, weight]) => snapshotCdn(name, { weight })));

describe('a simulated change', () => {
  it('moves exactly the share that a weight loses, to the others by their weights', async () => {
    const before = weights({ a: 50, b: 30, c: 20 });
    const after = weights({ a: 25, b: 30, c: 20 });
    const result = await simulateChange({ before, after }, sessions, 1_000_000, 4_000_000);
    expect(Math.abs(result.movedShare - (0.5 - 25 / 75))).toBeLessThan(0.01);
    expect(result.movements.map(({ from, to }) => `${from}>${to}`)).toEqual(['a>b', 'a>c']);
    const [first] = result.movements;
    expect(first?.viewers).toBe(Math.round((first?.share ?? 0) * 1_000_000));
    expect(first?.gbps).toBeCloseTo((first?.viewers ?? 0) * 0.004, 0);
    expect(Math.abs((result.after['a'] ?? 0) - 1 / 3)).toBeLessThan(0.01);
  });

  it('is nothing when nothing changes', async () => {
    const same = weights({ a: 1, b: 1 });
    expect(await simulateChange({ before: same, after: same }, sessions, 5, 1)).toMatchObject({
      movedShare: 0,
      movements: [],
    });
  });

  it('moves only those whom a region concerns', async () => {
    const before = weights({ a: 50, b: 50 });
    const after = snapshotOf([
      snapshotCdn('a', { weight: 50, countries: ['DE'] }),
      snapshotCdn('b', { weight: 50 }),
    ]);
    const result = await simulateChange({ before, after }, sessions, 100, 1);
    expect(Math.abs(result.movedShare - 0.25)).toBeLessThan(0.01);
    expect(result.movements).toMatchObject([{ from: 'a', to: 'b' }]);
  });

  it('lets others have their turn in between', async () => {
    let turns = 0;
    const count = (): void => {
      turns++;
      handle = setImmediate(count);
    };
    let handle = setImmediate(count);
    const snapshot = weights({ a: 1, b: 2 });
    await simulateChange({ before: snapshot, after: snapshot }, sessions, 1, 1);
    clearImmediate(handle);
    expect(turns).toBeGreaterThan(30);
  });
});
