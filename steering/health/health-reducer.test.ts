import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  expireHealth,
  factorOf,
  initialHealth,
  reduceHealth,
  type HealthInput,
  type HealthState,
} from '#steering/health/health-reducer.ts';
import { DEFAULT_HEALTH_RULES, RECENT_MAX } from '#steering/health/health-rules.ts';
import { seededRandom } from '#tests/support/seeded-random.ts';

const rules = DEFAULT_HEALTH_RULES;
const ALL_STATES = ['healthy', 'suspect', 'ejected', 'ramping', 'unknown'];
const good: HealthInput = { judged: true, score: 1, hard: false };
const slow: HealthInput = { judged: true, score: 0.2, hard: false };
const dead: HealthInput = { judged: true, score: 0, hard: true };
const middling: HealthInput = { judged: true, score: 0.6, hard: false };
const unjudged: HealthInput = { judged: false };

/** Feeds inputs one second apart. */
class Run {
  nowMs = 1_000;
  state: HealthState = initialHealth(0);

  feed(input: HealthInput, times = 1, everyMs = 1_000): this {
    for (let sample = 0; sample < times; sample++) {
      this.state = reduceHealth(this.state, input, this.nowMs, rules);
      this.nowMs += everyMs;
    }
    return this;
  }

  get factor(): number {
    return factorOf(this.state, rules);
  }
}
const healthy = (): Run => new Run().feed(good, 10);

describe('falling', () => {
  it('is trusted from the beginning and healthy after the first good sample', () => {
    const run = new Run();
    expect([run.state.state, run.factor]).toEqual(['unknown', 1]);
    run.feed(good);
    expect([run.state.state, run.factor]).toEqual(['healthy', 1]);
  });

  it('takes three bad samples in a row', () => {
    const run = healthy().feed(slow, 2);
    expect(run.state.state).toBe('suspect');
    expect(run.feed(good).feed(slow, 2).state.state).toBe('suspect');
    expect(run.feed(slow).state.state).toBe('ejected');
    expect(run.factor).toBe(0);
  });

  it('takes four failed ones, which come faster', () => {
    const run = healthy().feed(dead, 3, 250);
    expect(run.state.state).toBe('suspect');
    expect(run.feed(dead).state.state).toBe('ejected');
  });

  it('changes the factor before it falls for good', () => {
    expect(healthy().feed(dead, 3, 250).factor).toBeLessThan(1);
  });

  it('lets one lost probe pass without a trace', () => {
    const run = healthy().feed(dead);
    expect([run.state.state, run.factor]).toEqual(['healthy', 1]);
  });

  it('follows a CDN that is worse but not bad', () => {
    const run = healthy().feed(middling, 12);
    expect(run.state.state).toBe('suspect');
    expect(run.factor).toBeGreaterThanOrEqual(0.5);
    expect(run.factor).toBeLessThanOrEqual(0.7);
  });

  it('takes most samples being bad, though never enough in a row', () => {
    const run = healthy();
    for (let round = 0; round < 4; round++) run.feed(dead, 3).feed(good);
    expect(run.state).toMatchObject({ state: 'ejected', ejectedHard: true });
    const half = healthy();
    for (let round = 0; round < 100; round++) half.feed(dead).feed(good, 2);
    expect(half.state.state).toBe('healthy');
  });

  it('does not add up samples across a pause', () => {
    const run = healthy().feed(dead, 3);
    run.nowMs += 60_000;
    expect(run.feed(dead).state.state).not.toBe('ejected');
  });

  it('blames nobody while nothing can be judged', () => {
    const run = healthy();
    for (let round = 0; round < 20; round++) run.feed(dead, 3, 250).feed(unjudged);
    expect(run.state.state).not.toBe('ejected');
    expect(healthy().feed(unjudged, 100).state).toMatchObject({ state: 'healthy', quality: 1 });
  });
});

describe('coming back', () => {
  const fallen = (): Run => healthy().feed(dead, 4);

  it('waits for the end of the ejection and two good samples, then ramps from a canary share', () => {
    const run = fallen().feed(good, 6);
    expect(run.state.state).toBe('ejected');
    run.feed(good, 4);
    expect(run.state.state).toBe('ramping');
    expect(run.factor).toBeCloseTo(0.05);
    const factors = new Set<number>();
    for (let second = 0; second < 40; second++) factors.add(run.feed(good).factor);
    expect([...factors]).toEqual([0.05, 0.25, 0.5, 1]);
    expect(run.state.state).toBe('healthy');
  });

  it('stays out while samples are bad', () => {
    const run = fallen().feed(dead, 30).feed(good);
    expect(run.state.state).toBe('ejected');
    expect(run.feed(good).state.state).toBe('ramping');
  });

  it('falls again faster while it ramps', () => {
    const run = fallen().feed(good, 12);
    expect(run.state.state).toBe('ramping');
    expect(run.feed(slow, 2).state.state).toBe('ejected');
  });

  it('does not climb the ramp while nothing can be judged', () => {
    const run = fallen().feed(good, 11);
    const before = run.factor;
    run.feed(unjudged, 60);
    expect(run.factor).toBe(before);
  });

  it('stays out longer each time it flaps, up to a cap, and is forgiven in time', () => {
    const run = healthy();
    const lengthsMs: number[] = [];
    for (let flap = 0; flap < 8; flap++) {
      run.feed(dead, 4);
      const fellMs = run.nowMs;
      while (run.state.state === 'ejected') run.feed(good);
      lengthsMs.push(run.nowMs - fellMs);
      while (run.state.state !== 'healthy') run.feed(good);
    }
    expect(lengthsMs.slice(0, 4).map((ms) => Math.round(ms / 10_000))).toEqual([1, 2, 4, 8]);
    expect(lengthsMs.at(-1)).toBeLessThanOrEqual(rules.ejectionMaxMs + 5_000);
    run.feed(good, (rules.ejectionForgetMs / 1_000) * run.state.ejections + 100);
    expect(run.state.ejections).toBe(0);
  });
});

describe('silence', () => {
  it('ends in not knowing, later for an ejected CDN', () => {
    const run = healthy();
    expect(expireHealth(run.state, run.nowMs + 10_000, rules).state).toBe('healthy');
    expect(expireHealth(run.state, run.nowMs + 60_000, rules).state).toBe('unknown');
    run.feed(dead, 4);
    expect(expireHealth(run.state, run.nowMs + 60_000, rules).state).toBe('ejected');
    const forgotten = expireHealth(run.state, run.nowMs + 300_000, rules);
    expect([forgotten.state, factorOf(forgotten, rules)]).toEqual(['unknown', 1]);
    expect(forgotten.ejections).toBe(1);
  });
});

describe('any history', () => {
  const input = fc.oneof(
    fc.constant(unjudged),
    fc.record({
      judged: fc.constant(true as const),
      score: fc.double({ min: -1, max: 2, noNaN: true }),
      hard: fc.boolean(),
    }),
  );
  const history = fc.array(fc.tuple(input, fc.integer({ min: -5_000, max: 30_000 })), { maxLength: 200 });

  it('keeps the factor between 0 and 1, time from running backwards and the memory bounded', () => {
    fc.assert(
      fc.property(history, (steps) => {
        let state = initialHealth(0);
        let nowMs = 0;
        for (const [sample, stepMs] of steps) {
          nowMs += stepMs;
          const before = state;
          state = reduceHealth(before, sample, nowMs, rules);
          const factor = factorOf(state, rules);
          expect(factor).toBeGreaterThanOrEqual(0);
          expect(factor).toBeLessThanOrEqual(1);
          expect(state.lastSampleMs).toBeGreaterThanOrEqual(before.lastSampleMs);
          expect(state.recent.length).toBeLessThanOrEqual(RECENT_MAX);
          expect(factor === 0).toBe(state.state === 'ejected');
          // Nobody comes back to full weight in one step, and nobody falls out of the blue.
          const moves = before.state === 'ejected' ? ['ejected', 'ramping'] : ALL_STATES;
          expect(moves).toContain(state.state);
          const fell = before.state !== 'ejected' && state.state === 'ejected';
          const reason = state.badStreak >= rules.fall - 1 || state.recent.length >= rules.fallOfRecent;
          expect(fell && !reason).toBe(false);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('ends healthy after enough good samples, whatever was before', () => {
    fc.assert(
      fc.property(history, (steps) => {
        let state = initialHealth(0);
        let nowMs = 0;
        for (const [sample, stepMs] of steps) {
          nowMs += Math.max(0, stepMs);
          state = reduceHealth(state, sample, nowMs, rules);
        }
        const enough = (rules.ejectionMaxMs + 60_000) / 1_000;
        for (let sample = 0; sample < enough; sample++) {
          nowMs += 1_000;
          state = reduceHealth(state, good, nowMs, rules);
        }
        expect([state.state, factorOf(state, rules)]).toEqual(['healthy', 1]);
      }),
      { numRuns: 50 },
    );
  });
});

describe('a healthy CDN that loses 2 % of its probes', () => {
  it('is not ejected in an hour, and its weight hardly moves', () => {
    const seeds = Array.from({ length: 200 }, (_, seed) => seed + 1);
    const ejectedWith: number[] = [];
    let disturbedSeconds = 0;
    for (const seed of seeds) {
      const random = seededRandom(seed);
      const run = new Run();
      let confirmations = 0;
      while (run.nowMs < 3_600_000) {
        const lost = random() < 0.02;
        // The scheduler asks again at once after a failure.
        if (!lost) confirmations = 0;
        else if (confirmations === 0) confirmations = 4;
        else confirmations--;
        const stepMs = confirmations > 0 ? 250 : 1_000;
        run.feed(lost ? dead : good, 1, stepMs);
        if (run.factor < 1) disturbedSeconds += stepMs / 1_000;
        if (run.state.state === 'ejected') ejectedWith.push(seed);
      }
    }
    expect(ejectedWith, 'seeds that ejected').toEqual([]);
    expect(disturbedSeconds / (seeds.length * 3_600)).toBeLessThan(0.002);
  });
});
