import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { Cohort, SESSIONS_PER_VOICE_MAX, VOICE_EXPIRY_MS } from '#steering/qoe/cohort.ts';
import { EXPERIENCE_MIN, experienceFactor, VOICES_MIN } from '#steering/qoe/experience-factor.ts';
import { COHORTS_MAX, GLOBAL_VOICES_MAX, Qoe } from '#steering/qoe/qoe.ts';
import { voiceOf, type Place } from '#steering/qoe/viewer-place.ts';

const CDNS = ['a', 'b', 'c'];

class World {
  readonly clock = new FakeClock();
  readonly metrics = createMetrics('steering');
  readonly qoe = new Qoe({
    clock: this.clock,
    metrics: this.metrics,
    isCdn: (name) => CDNS.includes(name),
  });

  /** `count` viewers with addresses of their own; `badShare` of them stall. */
  crowd(cdn: string, count: number, badShare: number, place: Place = {}, from = 0): void {
    for (let viewer = 0; viewer < count; viewer++) {
      const address = `198.${cdn.charCodeAt(0) % 2}.${Math.floor((from + viewer) / 250)}.${(from + viewer) % 250}`;
      this.qoe.observePlayback({
        sessionId: `${cdn}-${from + viewer}`,
        address,
        place,
        cdn,
        value: viewer < count * badShare ? 0 : 1,
      });
    }
  }

  settle(): void {
    for (let reckoning = 0; reckoning < 3; reckoning++) this.qoe.reckon();
  }

  factors(place: Place = {}): Record<string, number> {
    this.settle();
    return Object.fromEntries(CDNS.map((cdn) => [cdn, this.qoe.factor(cdn, place)]));
  }
}

const worlds: World[] = [];
const world = (): World => {
  const built = new World();
  worlds.push(built);
  return built;
};
afterEach(async () => {
  for (const { qoe } of worlds.splice(0)) await qoe.close();
});

describe('comparing CDNs', () => {
  it('says nothing before enough viewers do', () => {
    const { qoe, crowd, factors } = bind(world());
    crowd('a', VOICES_MIN - 1, 1);
    crowd('b', 200, 0);
    expect(factors()).toEqual({ a: 1, b: 1, c: 1 });
    expect(qoe.summary('a')).toEqual({ voices: VOICES_MIN - 1, mean: 0 });
  });

  it('lowers the CDN on which viewers stall, and tells', () => {
    const { qoe, crowd, factors } = bind(world());
    let told = 0;
    qoe.onChange(() => told++);
    crowd('a', 200, 0.5);
    crowd('b', 200, 0.02);
    const { a, b } = factors();
    expect(a).toBeLessThan(0.7);
    expect(a).toBeGreaterThanOrEqual(EXPERIENCE_MIN);
    expect(b).toBe(1);
    expect(told).toBeGreaterThan(0);
    expect(qoe.generation).toBe(told);
  });

  it('does not hold a bad evening against anybody', () => {
    const { crowd, factors } = bind(world());
    for (const cdn of CDNS) crowd(cdn, 200, 0.4);
    expect(factors()).toEqual({ a: 1, b: 1, c: 1 });
  });

  it('never takes a CDN out by itself', () => {
    const { crowd, factors } = bind(world());
    crowd('a', 500, 1);
    crowd('b', 500, 0);
    expect(factors().a).toBe(EXPERIENCE_MIN);
  });

  it('judges per network and country, and falls back where too few are', () => {
    const { qoe, crowd, factors } = bind(world());
    const bad: Place = { country: 'DE', asn: 3320 };
    crowd('a', 100, 0.9, bad);
    crowd('b', 100, 0, bad);
    crowd('a', 400, 0, { country: 'FR', asn: 3215 }, 1_000);
    crowd('b', 400, 0, { country: 'FR', asn: 3215 }, 1_000);
    expect(factors(bad).a).toBeLessThan(0.6);
    expect(factors({ country: 'DE', asn: 1 }).a).toBeLessThan(0.6);
    expect(factors({ country: 'FR' }).a).toBe(1);
    expect(factors({ country: 'PL', asn: 5617 }).a).toBe(qoe.factor('a'));
    expect(qoe.placeFactor('a', bad)).toBeCloseTo(qoe.factor('a', bad) / qoe.factor('a'));
    expect(qoe.placeFactor('a', { country: 'FR' })).toBe(1);
  });

  it('forgets viewers who are silent', () => {
    const built = world();
    built.crowd('a', 200, 1);
    built.crowd('b', 200, 0);
    expect(built.factors().a).toBe(EXPERIENCE_MIN);
    built.clock.advance(VOICE_EXPIRY_MS + 5_000);
    expect(built.factors().a).toBe(1);
    expect(built.qoe.summary('a').voices).toBe(0);
  });

  it('does not listen to what is said of CDNs that do not exist', async () => {
    const built = world();
    built.crowd('nobody', 100, 1);
    built.qoe.observePlayback({ sessionId: 's', address: '8.8.8.8', value: 0 });
    built.settle();
    expect(built.qoe.factor('nobody')).toBe(1);
    expect(await built.metrics.getSingleMetricAsString('steering_qoe_dropped_total')).toMatch(
      /reason="cdn_unknown"[^}]*} 101/,
    );
  });
});

describe('what steering requests tell', () => {
  const ask = (built: World, viewer: number, assigned: string, reported: string, more = {}): void =>
    built.qoe.observeSteeringRequest({
      sessionId: `s${viewer}`,
      address: `198.51.${Math.floor(viewer / 250)}.${viewer % 250}`,
      assigned,
      reported,
      ...more,
    });

  it('takes leaving a CDN on their own as a vote against it', () => {
    const built = world();
    for (let viewer = 0; viewer < 100; viewer++) {
      ask(built, viewer, viewer < 60 ? 'a' : 'b', 'b');
      ask(built, viewer + 100, 'a', 'a');
    }
    const { a, b } = built.factors();
    expect(a).toBeLessThan(0.9);
    expect(b).toBe(1);
  });

  it('takes throughput below the lowest rung as starving, nonsense as nothing', () => {
    const starving = world();
    const nonsense = world();
    for (let viewer = 0; viewer < 100; viewer++) {
      ask(starving, viewer, 'a', 'a', { throughputBps: 100_000, lowestRungBps: 500_000 });
      ask(starving, viewer + 100, 'b', 'b', { throughputBps: 9_000_000, lowestRungBps: 500_000 });
      ask(nonsense, viewer, 'a', 'a', { throughputBps: -705_032_704, lowestRungBps: 500_000 });
      ask(nonsense, viewer + 100, 'b', 'b');
    }
    expect(starving.factors().a).toBeLessThan(0.6);
    expect(nonsense.factors()).toEqual({ a: 1, b: 1, c: 1 });
  });

  it('holds no throughput against a CDN that was measured elsewhere, or only guessed', () => {
    const built = world();
    const poor = { throughputBps: 100_000, lowestRungBps: 500_000 };
    for (let viewer = 0; viewer < 100; viewer++) {
      built.qoe.observeSteeringRequest({
        sessionId: `first${viewer}`,
        address: `198.51.100.${viewer}`,
        reported: 'a',
        ...poor,
      });
      ask(built, viewer, 'a', 'a', { throughputBps: 100_000 });
      ask(built, viewer + 100, 'b', 'b', { throughputBps: 9_000_000, lowestRungBps: 500_000 });
    }
    expect(built.factors()).toEqual({ a: 1, b: 1, c: 1 });
  });

  it('does not let a household talk a CDN down by throughput, however many sessions it opens', () => {
    const built = world();
    for (let viewer = 0; viewer < 3 * VOICES_MIN; viewer++) {
      ask(built, viewer, 'a', 'a', { throughputBps: 9_000_000, lowestRungBps: 500_000 });
      ask(built, viewer + 250, 'b', 'b', { throughputBps: 9_000_000, lowestRungBps: 500_000 });
    }
    for (let session = 0; session < 2_000; session++)
      built.qoe.observeSteeringRequest({
        sessionId: `liar${session}`,
        address: `2a00:1450:4001:5a${(session % 256).toString(16).padStart(2, '0')}::${session}`,
        assigned: 'a',
        reported: 'a',
        throughputBps: 1,
        lowestRungBps: 500_000,
      });
    expect(built.factors()).toEqual({ a: 1, b: 1, c: 1 });
  });

  it('says the worse of a network where throughput starves, and leaves the others alone', () => {
    const built = world();
    const lowestRungBps = 500_000;
    for (let viewer = 0; viewer < 100; viewer++) {
      const there = { place: { country: 'DE', asn: 3320 }, lowestRungBps };
      const elsewhere = { place: { country: 'FR', asn: 3215 }, lowestRungBps, throughputBps: 9_000_000 };
      ask(built, viewer, 'a', 'a', { ...there, throughputBps: 200_000 });
      ask(built, viewer + 100, 'b', 'b', { ...there, throughputBps: 9_000_000 });
      ask(built, viewer + 300, 'a', 'a', elsewhere);
      ask(built, viewer + 500, 'b', 'b', elsewhere);
    }
    expect(built.factors({ country: 'DE', asn: 3320 }).a).toBeLessThan(0.6);
    expect(built.factors({ country: 'FR', asn: 3215 }).a).toBe(1);
    expect(built.factors({ country: 'DE', asn: 3320 }).b).toBe(1);
  });

  it('tells whose CDN a report speaks of that does not say so, except about the past', () => {
    const built = world();
    for (let viewer = 0; viewer < 100; viewer++) {
      ask(built, viewer, 'a', 'a');
      const session = { sessionId: `s${viewer}`, address: `198.51.0.${viewer}` };
      for (let report = 0; report < 20; report++) built.qoe.observePlayback({ ...session, value: 0 });
      // The first request to another CDN reports the stall that happened on the one before.
      built.qoe.observePlayback({ ...session, cdn: 'b', value: 0, aboutThePast: true });
    }
    expect(built.factors().a).toBe(EXPERIENCE_MIN);
    expect(built.qoe.summary('b').mean).toBe(1);
  });
});

describe('one client', () => {
  const statement = fc.record({
    session: fc.nat({ max: 50 }),
    cdn: fc.constantFrom(...CDNS),
    value: fc.double({ min: -10, max: 10, noNaN: true }),
    times: fc.integer({ min: 1, max: 20 }),
  });

  it('cannot move a CDN, whatever it says under however many names', () => {
    fc.assert(
      fc.property(fc.array(statement, { maxLength: 60 }), fc.boolean(), (statements, v6) => {
        const built = world();
        for (const cdn of CDNS) built.crowd(cdn, VOICES_MIN, 0);
        for (const { session, cdn, value, times } of statements)
          for (let time = 0; time < times; time++)
            built.qoe.observePlayback({
              sessionId: `evil-${session}-${time}`,
              // With IPv6 a household has very many addresses.
              address: v6
                ? `2a00:1450:4001:5${session.toString(16).padStart(2, '0')}::${time + 1}`
                : '203.0.113.9',
              cdn,
              value,
            });
        expect(built.factors()).toEqual({ a: 1, b: 1, c: 1 });
      }),
      { numRuns: 60 },
    );
  });

  it('changes the reckoning by less than the weight of one voice', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: VOICES_MIN, max: 600 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.constantFrom(0, 1),
        (voices, mean, otherMean, value) => {
          const others = [{ voices: 200, mean: otherMean }];
          const before = experienceFactor({ voices, mean }, others);
          const after = experienceFactor(
            { voices: voices + 1, mean: (mean * voices + value) / (voices + 1) },
            others,
          );
          expect(Math.abs(after - before)).toBeLessThan(0.12);
          expect(Math.abs(after - before)).toBeLessThan(5 / voices);
        },
      ),
    );
  });
});

describe('memory', () => {
  it('is bounded in voices, sessions and cohorts', () => {
    const cohort = new Cohort(16);
    for (let voice = 0; voice < 1_000; voice++)
      for (let session = 0; session < 10; session++)
        cohort.observe(`v${voice}`, (voice * 7_919) % 1_000, `s${session}`, voice % 2, 0);
    expect(cohort.size).toBe(16);
    const built = world();
    built.crowd('a', 3_000, 0);
    expect(built.qoe.summary('a').voices).toBe(0);
    built.settle();
    expect(built.qoe.summary('a').voices).toBe(GLOBAL_VOICES_MAX);
    for (let asn = 1; asn < COHORTS_MAX + 500; asn++)
      built.qoe.observePlayback({ sessionId: 's', address: '8.8.8.8', place: { asn }, cdn: 'b', value: 1 });
    built.settle();
    expect(built.qoe.summary('a').voices).toBe(GLOBAL_VOICES_MAX);
  });

  it('keeps a fair sample of a crowd', () => {
    const built = world();
    built.crowd('a', 20_000, 0.25);
    built.settle();
    expect(built.qoe.summary('a').mean).toBeGreaterThan(0.65);
    expect(built.qoe.summary('a').mean).toBeLessThan(0.85);
  });

  it('lets a new session in when an old one of its address is gone', () => {
    const cohort = new Cohort(4);
    for (let session = 0; session < SESSIONS_PER_VOICE_MAX + 1; session++)
      cohort.observe('v', 1, `s${session}`, 0, 0);
    cohort.observe('v', 1, 'late', 1, VOICE_EXPIRY_MS + 1);
    expect(cohort.summarise(VOICE_EXPIRY_MS + 1)).toEqual({ voices: 1, mean: 1 });
  });
});

describe('voiceOf', () => {
  it.each([
    ['203.0.113.9', '203.0.113.9'],
    ['::ffff:203.0.113.9', '203.0.113.9'],
    ['2a00:1450:4001:5a12::1', '2a00:1450:4001:5a/56'],
    ['2A00:1450:4001:5aff:1:2:3:4', '2a00:1450:4001:5a/56'],
    ['2a00::1', '2a00:0:0:0/56'],
    ['::1', '0:0:0:0/56'],
    ['not an address', '?'],
    [undefined, '?'],
  ])('of %s is %s', (address, voice) => {
    expect(voiceOf(address)).toBe(voice);
  });
});

function bind(built: World): {
  qoe: Qoe;
  crowd: World['crowd'];
  factors: World['factors'];
} {
  return {
    qoe: built.qoe,
    crowd: (...args) => built.crowd(...args),
    factors: (place) => built.factors(place),
  };
}
