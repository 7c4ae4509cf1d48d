import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mergeHealth as merge, type MergedHealth } from '#steering/picture/merge-health.ts';
import type { HealthVote, NodeReport } from '#steering/picture/node-report.ts';

type Health = Pick<NodeReport, 'health' | 'streams' | 'held' | 'places'>;

function vote(factor: number, change: Partial<HealthVote> = {}): HealthVote {
  const state = factor === 0 ? 'ejected' : factor < 1 ? 'ramping' : 'healthy';
  return { factor, state, allFailing: false, ...change };
}

const sees = (health: Record<string, number>, streams: NodeReport['streams'] = {}): Health => ({
  health: Object.fromEntries(Object.entries(health).map(([name, factor]) => [name, vote(factor)])),
  streams,
  held: {},
  places: {},
});
const blind: Health = { health: { a: vote(1, { state: 'unknown' }) }, streams: {}, held: {}, places: {} };

const mergeHealth = (reports: Health[], enabled = ['a', 'b', 'c']): MergedHealth => merge(reports, enabled);
const factors = (reports: Health[]): Record<string, number> =>
  Object.fromEntries([...mergeHealth(reports).cdns].map(([name, { factor }]) => [name, factor]));

describe('what nodes agree on', () => {
  it('is what the one node sees that measures', () => {
    expect(factors([sees({ a: 0.5 }), blind])).toEqual({ a: 0.5 });
    expect(mergeHealth([blind])).toMatchObject({ cdns: new Map(), streams: {}, panic: false });
    expect(mergeHealth([]).panic).toBe(false);
  });

  it('is the worse of two and the middle of three', () => {
    expect(factors([sees({ a: 1, b: 1 }), sees({ a: 0, b: 1 })])).toEqual({ a: 0, b: 1 });
    const three = [sees({ a: 1, b: 1 }), sees({ a: 0, b: 1 }), sees({ a: 1, b: 1 })];
    expect(factors(three)).toEqual({ a: 1, b: 1 });
  });

  it('does not follow a node that sees nothing alive while another does', () => {
    const lost = sees({ a: 0, b: 0, c: 0 });
    const panicking: Health = {
      health: Object.fromEntries(
        ['a', 'b', 'c'].map((name) => [name, vote(1, { state: 'suspect', allFailing: true })]),
      ),
      streams: {},
      held: {},
      places: {},
    };
    const sighted = sees({ a: 1, b: 0, c: 1 });
    expect(factors([lost, panicking, sighted])).toEqual({ a: 1, b: 0, c: 1 });
    expect(mergeHealth([lost, panicking]).panic).toBe(true);
  });

  it('takes what nobody has measured, or nobody may use, for no proof of the end', () => {
    const half: Health = {
      health: { a: vote(0), b: vote(1, { state: 'unknown' }) },
      streams: {},
      held: {},
      places: {},
    };
    expect(mergeHealth([half], ['a', 'b']).panic).toBe(false);
    expect(mergeHealth([half], ['a']).panic).toBe(true);
    expect(mergeHealth([sees({ a: 0, off: 1 })], ['a']).panic).toBe(true);
    expect(mergeHealth([sees({ a: 0 })], []).panic).toBe(false);
  });

  it('tells a little alive from dead', () => {
    expect(factors([sees({ a: 0.0001, b: 0.337 })])).toEqual({ a: 0.01, b: 0.34 });
  });

  it('does not depend on the order of the reports, nor on a repetition of all of them', () => {
    const report = fc
      .dictionary(fc.constantFrom('a', 'b', 'c'), fc.constantFrom(0, 0.3, 1))
      .map((health) => sees(health, { live: health }));
    fc.assert(
      fc.property(fc.array(report, { maxLength: 7 }), (reports) => {
        const merged = mergeHealth(reports);
        const reversed = mergeHealth(reports.toReversed());
        expect(Object.fromEntries(reversed.cdns)).toEqual(Object.fromEntries(merged.cdns));
        expect(reversed.streams).toEqual(merged.streams);
        expect(factors([...reports, ...reports])).toEqual(factors(reports));
      }),
    );
  });
});

describe('what was good before', () => {
  it('is agreed on by the same rule, whoever has seen it', () => {
    const held = (values: Record<string, number>): Health => ({
      ...sees({ a: 0, b: 0, c: 0 }),
      held: values,
    });
    const merged = mergeHealth([held({ a: 1, b: 0.5 }), held({ a: 0 }), held({}), held({ a: 1 })]);
    expect(Object.fromEntries(merged.held)).toEqual({ a: 1, b: 0.5 });
  });
});

describe('places', () => {
  const at = (places: NodeReport['places']): Health => ({ ...sees({ a: 1 }), places });

  it('count as those nodes see them that see anything there', () => {
    const merged = mergeHealth([
      at({ DE: { a: 0.4 } }),
      at({}),
      at({ DE: { a: 0.6, b: 0.5 }, AS1: { a: 0.9 } }),
    ]);
    expect(merged.places).toEqual({ AS1: { a: 0.9 }, DE: { a: 0.4, b: 0.5 } });
  });

  it('are at most 256, the worst', () => {
    const many = Object.fromEntries(
      Array.from({ length: 300 }, (_, i) => [`AS${i}`, { a: i < 100 ? 0.3 : 0.9 }]),
    );
    const { places } = mergeHealth([at(many)]);
    expect(Object.keys(places)).toHaveLength(256);
    expect(Object.values(places).filter(({ a }) => a === 0.3)).toHaveLength(100);
  });
});

describe('streams', () => {
  it('are listed where they fare differently, by the same rule', () => {
    const one = sees({ a: 1, b: 1 }, { live: { a: 0 } });
    const two = sees({ a: 1, b: 1 }, { live: { a: 0.2 }, other: { b: 1 } });
    expect(mergeHealth([one, two]).streams).toEqual({ live: { a: 0 } });
    const fine = sees({ a: 1, b: 1 });
    expect(mergeHealth([one, fine, fine]).streams).toEqual({});
  });

  it('are at most 256, the worst', () => {
    const streams = Object.fromEntries(
      Array.from({ length: 400 }, (_, i) => [`s${i}`, { a: i < 200 ? 0.9 : 0.1 }]),
    );
    const merged = mergeHealth([sees({ a: 1 }, streams)]).streams;
    expect(Object.keys(merged)).toHaveLength(256);
    expect(Object.values(merged).filter(({ a }) => a === 0.1)).toHaveLength(200);
  });
});
