import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { COUNT_HORIZON_S, DecayingCount } from '#steering/demand/decaying-count.ts';
import {
  CDN_COUNTS_MAX,
  DemandMeter,
  REGION_GROUPS_MAX,
  STREAM_COUNTS_MAX,
  type AnsweredDemand,
} from '#steering/demand/demand-meter.ts';
import { SESSION_SAMPLE_MAX, SessionSample } from '#steering/demand/session-sample.ts';

describe('DecayingCount', () => {
  it('counts each amount until its time is over, and 2 s longer at most', () => {
    const entry = fc.record({
      amount: fc.integer({ min: 0, max: 10 }),
      atS: fc.integer({ min: 0, max: 500 }),
      forS: fc.integer({ min: 0, max: COUNT_HORIZON_S }),
    });
    fc.assert(
      fc.property(fc.array(entry), fc.integer({ min: 0, max: 700 }), (entries, waitS) => {
        const count = new DecayingCount();
        const sorted = entries.toSorted((a, b) => a.atS - b.atS);
        for (const { amount, atS, forS } of sorted) count.add(amount, atS, forS);
        const nowS = (sorted.at(-1)?.atS ?? 0) + waitS;
        const sumWhere = (isCounted: (endS: number) => boolean): number =>
          sorted.reduce((sum, e) => sum + (isCounted(e.atS + e.forS) ? e.amount : 0), 0);
        const value = count.value(nowS);
        expect(value).toBeGreaterThanOrEqual(sumWhere((endS) => endS > nowS));
        expect(value).toBeLessThanOrEqual(sumWhere((endS) => endS > nowS - 2.01));
      }),
      { numRuns: 500 },
    );
  });
});

function meter() {
  const clock = new FakeClock();
  return { clock, meter: new DemandMeter({ clock, metrics: createMetrics('test') }) };
}

const answer = (change: Partial<AnsweredDemand> = {}): AnsweredDemand => ({
  cdn: 'a',
  streamId: 'live',
  regionGroup: '',
  place: {},
  ttlS: 25,
  weight: 1,
  ...change,
});

describe('DemandMeter', () => {
  it('comes to the number of viewers that ask again and again', () => {
    const { clock, meter: demand } = meter();
    for (let second = 0; second < 120; second++) {
      for (let i = 0; i < 40; i++) demand.record(answer({ cdn: i % 4 === 0 ? 'b' : 'a' }));
      clock.advance(1_000);
    }
    // 40 answers a second at a TTL of 25 s are 1,000 viewers.
    const { cdns } = demand.read();
    expect(cdns['a']).toBeGreaterThanOrEqual(750 * 0.95);
    expect(cdns['a']).toBeLessThan(750 * 1.06);
    expect(cdns['b']).toBeGreaterThanOrEqual(250 * 0.95);
    expect(demand.streams(10).map(({ cdn }) => cdn)).toEqual(['a', 'b']);
  });

  it('forgets viewers that have gone, within a TTL', () => {
    const { clock, meter: demand } = meter();
    for (let i = 0; i < 100; i++) demand.record(answer());
    clock.advance(24_000);
    expect(demand.read().cdns['a']).toBe(100);
    clock.advance(4_000);
    expect(demand.read()).toEqual({ cdns: {}, regionGroups: {} });
  });

  it('stays within its limits, whatever is thrown at it, and loses no viewer of a CDN', async () => {
    const clock = new FakeClock();
    const metrics = createMetrics('test');
    const demand = new DemandMeter({ clock, metrics });
    for (let i = 0; i < 2 * STREAM_COUNTS_MAX; i++)
      demand.record(answer({ streamId: `s${i}`, regionGroup: `g${i}` }));
    expect(demand.streams(Infinity)).toHaveLength(STREAM_COUNTS_MAX);
    expect(demand.read().cdns).toEqual({ a: 2 * STREAM_COUNTS_MAX });
    const groups = demand.read().regionGroups;
    expect(Object.keys(groups).length).toBeLessThanOrEqual(REGION_GROUPS_MAX + 1);
    expect(Object.values(groups).reduce((a, b) => a + b, 0)).toBe(2 * STREAM_COUNTS_MAX);
    for (let i = 0; i < 1_000; i++) demand.record(answer({ cdn: `c${i}` }));
    expect(Object.keys(demand.read().cdns)).toHaveLength(CDN_COUNTS_MAX);
    expect(await metrics.metrics()).toContain('what="streams"');
    clock.advance(60_000);
    demand.record(answer({ streamId: 'after' }));
    expect(demand.streams(Infinity)).toEqual([{ streamId: 'after', cdn: 'a', viewers: 1 }]);
  });
});

describe('SessionSample', () => {
  it('keeps the latest, fills up with copies of them, and does without', () => {
    const sample = new SessionSample();
    expect(sample.draw(3)).toHaveLength(3);
    for (let i = 0; i < SESSION_SAMPLE_MAX + 10; i++)
      sample.add({ sessionId: `s${i}`, streamId: 'x', generation: 1, country: 'DE', asn: undefined });
    expect(sample.size).toBe(SESSION_SAMPLE_MAX);
    const drawn = sample.draw(10_000);
    expect(new Set(drawn.map(({ sessionId }) => sessionId)).size).toBe(10_000);
    expect(drawn.every(({ country, streamId }) => country === 'DE' && streamId === 'x')).toBe(true);
    expect(drawn.some(({ sessionId }) => sessionId === 's0')).toBe(false);
  });
});
