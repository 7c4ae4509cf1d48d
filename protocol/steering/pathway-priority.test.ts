import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  pathwayPriority,
  prepareSnapshot,
  type SteeredSession,
} from '#protocol/steering/pathway-priority.ts';
import { EMPTY_SNAPSHOT, SteeringSnapshot, type SnapshotCdn } from '#protocol/steering/steering-snapshot.ts';

function cdn(name: string, change: Partial<SnapshotCdn> = {}): SnapshotCdn {
  return {
    name,
    baseUrl: `https://${name}.example`,
    enabled: true,
    weight: 100,
    health: 1,
    priorityClass: 1,
    addedGeneration: 1,
    countries: [],
    asns: [],
    ...change,
  };
}

function snapshot(cdns: SnapshotCdn[], change: Partial<SteeringSnapshot> = {}): SteeringSnapshot {
  return { ...EMPTY_SNAPSHOT, generation: 9, cdns, ...change };
}

function session(i: number, change: Partial<SteeredSession> = {}): SteeredSession {
  return {
    sessionId: `s${i}`,
    streamId: 'live',
    generation: 9,
    country: undefined,
    asn: undefined,
    ...change,
  };
}

const SESSIONS = 20_000;

/** Share of the sessions that have each pathway in the first place. */
function firstShares(value: SteeringSnapshot, change: Partial<SteeredSession> = {}): Record<string, number> {
  const picture = prepareSnapshot(value);
  const shares: Record<string, number> = {};
  for (let i = 0; i < SESSIONS; i++) {
    const first = pathwayPriority(picture, session(i, change))[0] ?? '';
    shares[first] = (shares[first] ?? 0) + 1 / SESSIONS;
  }
  return shares;
}

const listOf = (value: SteeringSnapshot, change: Partial<SteeredSession> = {}, i = 1): string[] =>
  pathwayPriority(prepareSnapshot(value), session(i, change));

const snapshotArbitrary = fc
  .uniqueArray(
    fc.record({
      name: fc.stringMatching(/^[a-z][a-z0-9.-]{0,10}$/),
      enabled: fc.boolean(),
      weight: fc.oneof(fc.constant(0), fc.float({ min: Math.fround(0.001), max: 1_000, noNaN: true })),
      health: fc.constantFrom(0, 0.05, 0.5, 1),
      priorityClass: fc.integer({ min: 1, max: 9 }),
      addedGeneration: fc.integer({ min: 1, max: 12 }),
      countries: fc.subarray(['DE', 'FR']),
      asns: fc.subarray([3320, 5410]),
    }),
    { selector: (entry) => entry.name, maxLength: 12 },
  )
  .chain((list) => {
    const cdns = list.map((entry) => cdn(entry.name, entry));
    const here = fc.dictionary(fc.constantFrom('', ...cdns.map((c) => c.name)), fc.constantFrom(0, 0.5, 1));
    const spill = fc.array(
      fc.record({
        priorityClass: fc.integer({ min: 1, max: 9 }),
        share: fc.float({ min: 0, max: 1, noNaN: true }),
      }),
      { maxLength: 3 },
    );
    return fc.record({ spill, streams: fc.record({ live: here }) }).map((rest) => snapshot(cdns, rest));
  });

const sessionArbitrary = fc.record({
  sessionId: fc.string({ maxLength: 30 }),
  streamId: fc.constantFrom('live', 'other'),
  generation: fc.integer({ min: 0, max: 12 }),
  country: fc.option(fc.constantFrom('DE', 'FR', 'US'), { nil: undefined }),
  asn: fc.option(fc.constantFrom(3320, 1), { nil: undefined }),
});

describe('the priority list of any session in any picture', () => {
  it('is never empty, never of one entry while two live, and lists nothing dead while anything lives', () => {
    fc.assert(
      fc.property(snapshotArbitrary, sessionArbitrary, (value, who) => {
        const list = pathwayPriority(prepareSnapshot(value), who);
        expect(list.length).toBeGreaterThan(0);
        expect(new Set(list).size).toBe(list.length);
        const health = (c: SnapshotCdn): number => value.streams[who.streamId]?.[c.name] ?? c.health;
        const live = value.cdns.filter((c) => c.enabled && health(c) > 0).map((c) => c.name);
        expect(list.length).toBeGreaterThanOrEqual(Math.min(2, live.length));
        const liveFirst = live.length > 0 ? list.filter((name) => !live.includes(name)) : [];
        expect(liveFirst).toEqual([]);
      }),
      { numRuns: 2_000 },
    );
  });

  it('keeps the order of the others when one CDN changes its weight or its health', () => {
    const change = fc.record({ weight: fc.constantFrom(0.5, 30, 900), health: fc.constantFrom(0.1, 0.7, 1) });
    fc.assert(
      fc.property(snapshotArbitrary, sessionArbitrary, fc.nat(), change, (value, who, which, changed) => {
        fc.pre(value.cdns.length > 0);
        const index = which % value.cdns.length;
        const later = snapshot(
          value.cdns.map((c, i) => (i === index && c.weight > 0 && c.health > 0 ? { ...c, ...changed } : c)),
          { spill: value.spill, streams: value.streams },
        );
        const name = value.cdns[index]?.name;
        const others = (list: string[]): string[] => list.filter((id) => id !== name);
        expect(others(pathwayPriority(prepareSnapshot(later), who))).toEqual(
          others(pathwayPriority(prepareSnapshot(value), who)),
        );
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('shares', () => {
  it('follow weight times health', () => {
    const shares = firstShares(snapshot([cdn('a', { weight: 60 }), cdn('b', { weight: 80, health: 0.5 })]));
    expect(Math.abs((shares['a'] ?? 0) - 0.6)).toBeLessThan(0.01);
  });

  it('follow the health of the stream where that is another one', () => {
    const cdns = [cdn('a'), cdn('b'), cdn('c')];
    const value = snapshot(cdns, { streams: { live: { b: 0 } } });
    expect(listOf(value)).not.toContain('b');
    expect(listOf(value, { streamId: 'other' })).toContain('b');
  });

  it('pass on from a full class for as many as do not fit, and for nobody else', () => {
    const cdns = [cdn('a'), cdn('b', { priorityClass: 2 }), cdn('c', { priorityClass: 2 })];
    const shares = firstShares(snapshot(cdns, { spill: [{ priorityClass: 1, share: 0.2 }] }));
    expect(Math.abs((shares['a'] ?? 0) - 0.8)).toBeLessThan(0.01);
    expect(firstShares(snapshot(cdns))).toEqual({ a: expect.closeTo(1) });
  });
});

describe('draining, disabling and dying', () => {
  const four = ['a', 'b', 'c', 'd'].map((name) => cdn(name));

  it('puts weight 0 last, even behind a CDN that is nearly dead', () => {
    const cdns = [cdn('a', { weight: 0 }), cdn('b', { health: 0.01 }), cdn('c')];
    for (let i = 0; i < 50; i++) expect(listOf(snapshot(cdns), {}, i).at(-1)).toBe('a');
  });

  it('leaves a disabled and a dead CDN out', () => {
    const cdns = [...four, cdn('off', { enabled: false }), cdn('dead', { health: 0 })];
    expect(listOf(snapshot(cdns)).toSorted((x, y) => (x < y ? -1 : 1))).toEqual(['a', 'b', 'c', 'd']);
  });

  it('fails static when everything looks dead', () => {
    expect(listOf(snapshot(four.map((c) => ({ ...c, health: 0 }))))).toHaveLength(4);
    const onlyHere = snapshot(four, { streams: { live: { a: 0, b: 0, c: 0, d: 0 } } });
    expect(listOf(onlyHere)).toEqual(listOf(snapshot(four)));
  });

  it('lists what there is when everything is disabled, and the default pathway when there is nothing', () => {
    expect(listOf(snapshot(four.map((c) => ({ ...c, enabled: false }))))).toHaveLength(4);
    expect(listOf(EMPTY_SNAPSHOT)).toEqual(['.']);
  });
});

describe('regions', () => {
  const cdns = [
    cdn('world', { weight: 1 }),
    cdn('german', { weight: 1_000, countries: ['DE'] }),
    cdn('telekom', { weight: 1_000, asns: [3320] }),
  ];

  it('puts a CDN that does not serve the viewer behind those that do', () => {
    for (let i = 0; i < 50; i++) {
      expect(listOf(snapshot(cdns), { country: 'FR', asn: 5410 }, i)[0]).toBe('world');
      expect(listOf(snapshot(cdns), { country: 'DE', asn: 5410 }, i).at(-1)).toBe('telekom');
    }
  });

  it('shuts nobody out whose origin is unknown', () => {
    const shares = firstShares(snapshot(cdns));
    expect((shares['german'] ?? 0) + (shares['telekom'] ?? 0)).toBeGreaterThan(0.98);
  });
});

describe('how viewers fare in one place', () => {
  const value = snapshot([cdn('a'), cdn('b')], {
    places: { DE: { a: 0.5 }, AS3320: { a: 0.25 }, FR: { a: 0 } },
  });

  it('moves weight there, by network before country, and nowhere else', () => {
    const shareOfA = (change: Partial<SteeredSession>): number => firstShares(value, change)['a'] ?? 0;
    expect(Math.abs(shareOfA({ country: 'DE', asn: 1 }) - 0.5 / 1.5)).toBeLessThan(0.01);
    expect(Math.abs(shareOfA({ country: 'DE', asn: 3320 }) - 0.25 / 1.25)).toBeLessThan(0.01);
    expect(Math.abs(shareOfA({ country: 'US', asn: 1 }) - 0.5)).toBeLessThan(0.01);
    expect(Math.abs(shareOfA({}) - 0.5)).toBeLessThan(0.01);
  });

  it('takes no CDN out', () => {
    for (let i = 0; i < 50; i++) expect(listOf(value, { country: 'FR' }, i)).toHaveLength(2);
    expect(firstShares(value, { country: 'FR' })['a']).toBeGreaterThan(0.05);
  });
});

describe('priority classes', () => {
  it('keep a backup behind everything of the first class', () => {
    const cdns = [cdn('a', { weight: 1 }), cdn('backup', { weight: 1_000, priorityClass: 2 })];
    for (let i = 0; i < 50; i++) expect(listOf(snapshot(cdns), {}, i)).toEqual(['a', 'backup']);
  });
});

describe('pathways that came after the playlist', () => {
  it('are not listed to a session that cannot know them', () => {
    const cdns = [cdn('a'), cdn('b'), cdn('new', { addedGeneration: 12 })];
    expect(listOf(snapshot(cdns), { generation: 11 })).not.toContain('new');
    expect(listOf(snapshot(cdns), { generation: 12 })).toContain('new');
    expect(listOf(snapshot(cdns), { generation: 0 })).toContain('new');
  });

  it('are listed last where one known pathway is all that is left', () => {
    const cdns = [cdn('a', { weight: 1 }), cdn('b', { health: 0 }), cdn('new', { addedGeneration: 12 })];
    expect(listOf(snapshot(cdns), { generation: 11 })).toEqual(['a', 'new']);
  });
});

describe('the snapshot', () => {
  it('is read back as it was written', () => {
    const value = snapshot([cdn('a')], {
      streams: { live: { a: 0.5 } },
      spill: [{ priorityClass: 1, share: 0.1 }],
    });
    expect(SteeringSnapshot.parse(JSON.parse(JSON.stringify(value)))).toEqual(value);
  });
});
