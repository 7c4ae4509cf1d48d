import { describe, expect, it } from 'vitest';
import { pathwayPriority, prepareSnapshot } from '#protocol/steering/pathway-priority.ts';
import { SteeringSnapshot } from '#protocol/steering/steering-snapshot.ts';
import { compileSnapshot, type PictureInput } from '#steering/picture/compile-snapshot.ts';
import { costFactors } from '#steering/picture/cost-policy.ts';
import { groupServedBy, regionGroup } from '#steering/picture/region-group.ts';
import type { Cdn } from '#steering/registry/cdn.ts';
import { registryCdn } from '#tests/support/steering-fixtures.ts';

const BITRATE = 4_000_000;

function input(cdns: Cdn[], change: Partial<PictureInput> = {}): PictureInput {
  return {
    cdns,
    generation: 5,
    health: { cdns: new Map(), streams: {}, panic: false, held: new Map(), places: {} },
    demand: new Map([['', 10_000]]),
    event: false,
    policy: { cost: 'off', viewerBitrateBps: BITRATE },
    ...change,
  };
}

const capacity = (viewersMax: number | null, gbpsMax: number | null = null) => ({
  capacity: { viewersMax, gbpsMax },
});
const healthy = (factors: Record<string, number>, panic = false, held = new Map<string, number>()) => ({
  cdns: new Map(
    Object.entries(factors).map(([name, factor]) => [name, { factor, state: 'healthy' as const }]),
  ),
  streams: {},
  panic,
  held,
  places: {},
});

/** Where `count` sessions really go. */
function firstChoices(
  value: PictureInput,
  count = 10_000,
  from: { country?: string } = {},
): Record<string, number> {
  const picture = prepareSnapshot(compileSnapshot(value).snapshot);
  const firsts: Record<string, number> = {};
  for (let i = 0; i < count; i++) {
    const who = { sessionId: `s${i}`, streamId: 'x', generation: 0, country: from.country, asn: undefined };
    const [first = ''] = pathwayPriority(picture, who);
    firsts[first] = (firsts[first] ?? 0) + 1;
  }
  return firsts;
}

describe('the snapshot', () => {
  it('has every CDN, the disabled too, with what ops have set', () => {
    const cdns = [
      registryCdn('a', { weight: 7, regions: { countries: ['DE'], asns: [3320] } }),
      registryCdn('b', { enabled: false, priorityClass: 2 }),
    ];
    const { snapshot } = compileSnapshot(input(cdns));
    expect(SteeringSnapshot.parse(snapshot)).toEqual(snapshot);
    expect(snapshot.cdns).toMatchObject([
      { name: 'a', weight: 7, enabled: true, countries: ['DE'], asns: [3320] },
      { name: 'b', enabled: false, priorityClass: 2 },
    ]);
    expect(snapshot.generation).toBe(5);
  });

  it('shows what was good before while everything fails', () => {
    const cdns = [registryCdn('a'), registryCdn('b'), registryCdn('c')];
    const held = new Map([
      ['a', 0],
      ['b', 0.5],
    ]);
    const { snapshot } = compileSnapshot(input(cdns, { health: healthy({ a: 0, b: 0, c: 0 }, true, held) }));
    expect(snapshot.panic).toBe(true);
    expect(snapshot.cdns.map(({ health }) => health)).toEqual([0, 0.5, 1]);
  });

  it('names no CDN in the health of streams that it does not have', () => {
    const health = { ...healthy({ a: 1 }), streams: { x: { a: 0.5, gone: 0 }, y: { gone: 0 } } };
    expect(compileSnapshot(input([registryCdn('a')], { health })).snapshot.streams).toEqual({
      x: { a: 0.5 },
    });
  });
});

describe('capacity', () => {
  it('of a full CDN is what it gets, the rest goes to the others by weight', () => {
    const value = input([
      registryCdn('a', { weight: 60, ...capacity(3_000) }),
      registryCdn('b', { weight: 20 }),
      registryCdn('c', { weight: 20 }),
    ]);
    const firsts = firstChoices(value);
    expect(Math.abs((firsts['a'] ?? 0) - 3_000)).toBeLessThan(150);
    expect(Math.abs((firsts['b'] ?? 0) - 3_500)).toBeLessThan(150);
    const [load] = compileSnapshot(value).loads;
    expect(load).toMatchObject({ expectedViewers: 3_000, capacityViewers: 3_000 });
    expect(load?.capacityFactor).toBeLessThan(1);
  });

  it('can be given in Gbit/s', () => {
    const value = input([registryCdn('a', capacity(null, 8)), registryCdn('b')]);
    expect(Math.abs((firstChoices(value)['a'] ?? 0) - 2_000)).toBeLessThan(150);
  });

  it('plays no part while there is room, nor for a CDN that is dead or being drained', () => {
    const room = compileSnapshot(input([registryCdn('a', capacity(6_000)), registryCdn('b')]));
    expect(room.snapshot.cdns.map(({ weight }) => weight)).toEqual([100, 100]);
    const dead = compileSnapshot(
      input(
        [registryCdn('a', capacity(1)), registryCdn('b', { weight: 0, ...capacity(1) }), registryCdn('c')],
        {
          health: healthy({ a: 0, b: 1, c: 1 }),
        },
      ),
    );
    expect(dead.snapshot.cdns.map(({ weight }) => weight)).toEqual([100, 0, 100]);
    expect(dead.excessViewers).toBe(0);
  });

  it('of a whole class passes on to the next class, for those who do not fit', () => {
    const value = input([
      registryCdn('a', { weight: 50, ...capacity(2_000) }),
      registryCdn('b', { weight: 50, ...capacity(4_000) }),
      registryCdn('backup', { priorityClass: 2 }),
    ]);
    const firsts = firstChoices(value);
    expect(Math.abs((firsts['a'] ?? 0) - 2_000)).toBeLessThan(200);
    expect(Math.abs((firsts['b'] ?? 0) - 4_000)).toBeLessThan(200);
    expect(Math.abs((firsts['backup'] ?? 0) - 4_000)).toBeLessThan(200);
    expect(compileSnapshot(value).snapshot.spill).toEqual([{ priorityClass: 1, share: 0.4 }]);
  });

  it('that is short everywhere is overloaded alike, and says so', () => {
    const value = input([registryCdn('a', capacity(1_000)), registryCdn('b', capacity(4_000))]);
    const { excessViewers, snapshot } = compileSnapshot(value);
    expect(Math.abs(excessViewers - 5_000)).toBeLessThan(10);
    expect(snapshot.spill).toEqual([]);
    expect(Math.abs((firstChoices(value)['a'] ?? 0) - 2_000)).toBeLessThan(150);
  });

  it('is reckoned with the viewers that may use a CDN at all', () => {
    // Of 10,000 viewers 2,000 are in Germany; half of these, 1,000, would be on the German CDN: it has room.
    const german = registryCdn('german', {
      ...capacity(1_500),
      regions: { countries: ['DE'], asns: [] },
    });
    const cdns = [german, registryCdn('world')];
    const demand = new Map([
      ['', 8_000],
      ['0', 2_000],
    ]);
    const { snapshot, loads } = compileSnapshot(input(cdns, { demand }));
    expect(snapshot.cdns.map(({ weight }) => weight)).toEqual([100, 100]);
    expect(loads.map(({ expectedViewers }) => expectedViewers)).toEqual([1_000, 9_000]);
  });

  it('never makes a full CDN look as if it were being drained', () => {
    const value = input(
      [registryCdn('a', { weight: 1, ...capacity(1) }), registryCdn('b', { weight: 1_000 })],
      {
        demand: new Map([['', 1e9]]),
      },
    );
    expect(compileSnapshot(value).snapshot.cdns[0]?.weight).toBeGreaterThan(0);
  });

  it('gives the same picture for counts that differ by a hair', () => {
    const cdns = [registryCdn('a', capacity(3_000)), registryCdn('b')];
    const at = (viewers: number) =>
      compileSnapshot(input(cdns, { demand: new Map([['', viewers]]) })).snapshot;
    expect(at(10_000.4)).toEqual(at(10_000));
  });
});

describe('region groups', () => {
  it('say the same about a viewer as the decision does', () => {
    const cdns = [
      registryCdn('a', { regions: { countries: ['DE'], asns: [] } }),
      registryCdn('b'),
      registryCdn('c', { regions: { countries: [], asns: [3320] } }),
    ];
    const picture = prepareSnapshot(compileSnapshot(input(cdns)).snapshot);
    const at = (country?: string, asn?: number) => regionGroup(picture, { country, asn });
    expect([at('DE', 1), at('FR', 3320), at('FR', 1), at()]).toEqual(['0', '2', '', '0.2']);
    const serves = groupServedBy('0.2');
    expect([serves(0, true), serves(1, false), serves(1, true), serves(2, true)]).toEqual([
      true,
      true,
      false,
      true,
    ]);
  });
});

describe('cost as a tie-breaker', () => {
  const cost = (perGb: number, commitGbps = 0) => ({ cost: { perGb, commitGbps } });

  it('gives the cheaper of equal weights more, and changes nobody else', () => {
    const cdns = [
      registryCdn('cheap', cost(0.01)),
      registryCdn('dear', cost(0.04)),
      registryCdn('other', { weight: 50, ...cost(0.0001) }),
    ];
    expect(costFactors(cdns, 'tiebreak', 1e9)).toEqual([1.5, 0.5, 1]);
    expect(costFactors(cdns, 'off', 1e9)).toEqual([1, 1, 1]);
    const value = input(cdns, { policy: { cost: 'tiebreak', viewerBitrateBps: BITRATE } });
    const firsts = firstChoices(value);
    expect(Math.abs((firsts['other'] ?? 0) - 2_000)).toBeLessThan(150);
    expect(firsts['cheap'] ?? 0).toBeGreaterThan(2 * (firsts['dear'] ?? 0));
  });

  it('fills what is paid for first', () => {
    const cdns = [registryCdn('committed', cost(0.09, 10)), registryCdn('cheap', cost(0.01))];
    expect(costFactors(cdns, 'tiebreak', 12e9)[0]).toBeGreaterThan(1);
    expect(costFactors(cdns, 'tiebreak', 200e9)[0]).toBeLessThan(1);
  });

  it('leaves classes, drained and disabled CDNs alone', () => {
    const cdns = [
      registryCdn('a', cost(1)),
      registryCdn('b', { priorityClass: 2, ...cost(2) }),
      registryCdn('c', { enabled: false, ...cost(3) }),
      registryCdn('d', { weight: 0, ...cost(4) }),
    ];
    expect(costFactors(cdns, 'tiebreak', 1e9)).toEqual([1, 1, 1, 1]);
  });
});
