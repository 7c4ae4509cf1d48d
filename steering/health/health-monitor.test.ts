import { beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { HISTORY_SAMPLES_MAX } from '#steering/health/health-history.ts';
import { HealthMonitor, type MonitoredCdn } from '#steering/health/health-monitor.ts';
import { DEFAULT_HEALTH_RULES } from '#steering/health/health-rules.ts';
import { STREAM_STATES_MAX, StreamHealth } from '#steering/health/stream-health.ts';
import type { ProbeSample } from '#steering/probe/probe-sample.ts';

const logger = createLogger('test', 'silent');
const monitored = (name: string, more: Partial<MonitoredCdn> = {}): MonitoredCdn => ({
  name,
  baseUrl: `https://${name}.example`,
  enabled: true,
  rules: DEFAULT_HEALTH_RULES,
  ...more,
});

describe('HealthMonitor', () => {
  let clock: FakeClock;
  let monitor: HealthMonitor;
  let experience: Record<string, number>;
  let metrics: ReturnType<typeof createMetrics>;

  const build = (names: readonly string[], ejectedShareMax = 0.67): void => {
    clock = new FakeClock();
    experience = {};
    metrics = createMetrics('steering');
    monitor = new HealthMonitor(
      { ejectedShareMax },
      { clock, logger, metrics, experience: (cdn) => experience[cdn] ?? 1 },
    );
    monitor.setCdns(names.map((name) => monitored(name)));
  };
  const sample = (cdn: string, verdict: ProbeSample['verdict'], streamId = 's'): ProbeSample => ({
    cdn,
    streamId,
    verdict,
    components: verdict === 'failed' ? { hold: 0 } : { hold: 1 },
    reasons: verdict === 'failed' ? ['hold_timeout'] : [],
    atMs: clock.monotonicMs(),
    stagesMs: {},
  });
  const round = (verdicts: Record<string, ProbeSample['verdict']>): void => {
    clock.advance(1_000);
    for (const [cdn, verdict] of Object.entries(verdicts)) monitor.report(cdn, [sample(cdn, verdict)]);
  };
  const rounds = (times: number, verdicts: Record<string, ProbeSample['verdict']>): void => {
    for (let time = 0; time < times; time++) round(verdicts);
  };
  const states = (): Record<string, string> =>
    Object.fromEntries(['a', 'b', 'c'].map((cdn) => [cdn, monitor.get(cdn).state]));

  beforeEach(() => build(['a', 'b', 'c']));

  it('trusts a CDN it never heard of', () => {
    expect(monitor.get('nobody')).toMatchObject({ state: 'unknown', factor: 1, reasons: [] });
  });

  it('tells of a fall with its reasons, its time and a new generation', () => {
    rounds(3, { a: 'measured', b: 'measured', c: 'measured' });
    const before = monitor.generation;
    let told = 0;
    const stop = monitor.onChange(() => told++);
    rounds(4, { a: 'failed', b: 'measured', c: 'measured' });
    const health = monitor.get('a');
    expect(health).toMatchObject({
      state: 'ejected',
      factor: 0,
      reasons: ['hold_timeout'],
      sinceMs: clock.nowMs(),
      components: { hold: 0, experience: 1 },
    });
    expect(health.generation).toBe(monitor.generation);
    expect(monitor.generation).toBeGreaterThan(before);
    expect(told).toBe(monitor.generation - before);
    expect(monitor.get('b').generation).toBeLessThan(monitor.generation);
    stop();
    rounds(20, { a: 'measured' });
    expect(told).toBeLessThan(monitor.generation - before);
  });

  it('changes nothing while nothing changes', () => {
    rounds(3, { a: 'measured', b: 'measured', c: 'measured' });
    const before = monitor.generation;
    rounds(100, { a: 'measured', b: 'measured', c: 'measured' });
    expect(monitor.generation).toBe(before);
  });

  it('ejects no more than the share, and spares with a little weight', () => {
    build(['a', 'b', 'c', 'd'], 0.5);
    rounds(3, { a: 'measured', b: 'measured', c: 'measured', d: 'measured' });
    rounds(1, { b: 'failed' });
    rounds(5, { a: 'failed', b: 'failed', c: 'failed', d: 'measured' });
    const out = ['a', 'b', 'c', 'd'].filter((cdn) => monitor.get(cdn).state === 'ejected');
    expect(out.length).toBe(2);
    expect(out).toContain('b');
    const spared = ['a', 'c'].map((cdn) => monitor.get(cdn)).find(({ state }) => state === 'suspect');
    expect(spared).toMatchObject({ factor: 0.1 });
    expect(spared?.reasons[0]).toBe('too_many_ejected');
  });

  it('panics when all have failed, and calms down when one is back', async () => {
    rounds(5, { a: 'failed', b: 'failed', c: 'failed' });
    expect(states()).toEqual({ a: 'suspect', b: 'suspect', c: 'suspect' });
    expect(monitor.get('a')).toMatchObject({ factor: 1 });
    expect(monitor.get('a').reasons[0]).toBe('all_cdns_failing');
    expect(monitor.panic).toBe(true);
    expect(await metrics.getSingleMetricAsString('steering_health_panic')).toContain('} 1');
    rounds(15, { a: 'failed', b: 'measured', c: 'failed' });
    expect(monitor.panic).toBe(false);
    expect(states()).toEqual({ a: 'ejected', b: 'ramping', c: 'ejected' });
  });

  it('does not count disabled CDNs when it spares the last', () => {
    monitor.setCdns([monitored('a'), monitored('b', { enabled: false }), monitored('c', { enabled: false })]);
    rounds(5, { a: 'failed', b: 'measured', c: 'measured' });
    expect(monitor.get('a')).toMatchObject({ state: 'suspect', factor: 1 });
  });

  it('blames no CDN while the origin has nothing', () => {
    rounds(3, { a: 'measured', b: 'measured', c: 'measured' });
    rounds(30, { a: 'unjudged', b: 'unjudged', c: 'unjudged' });
    expect(states()).toEqual({ a: 'healthy', b: 'healthy', c: 'healthy' });
  });

  it('says why it knows nothing of a CDN that must not be asked', () => {
    clock.advance(1_000);
    monitor.report('a', [{ ...sample('a', 'unjudged'), reasons: ['target_refused'] }]);
    expect(monitor.get('a')).toMatchObject({ state: 'unknown', factor: 1, reasons: ['target_refused'] });
  });

  it('knows nothing any more after a long silence', () => {
    rounds(3, { a: 'measured' });
    clock.advance(61_000);
    monitor.refresh();
    expect(monitor.get('a')).toMatchObject({ state: 'unknown', factor: 1 });
  });

  it('takes in how viewers fare', () => {
    rounds(3, { a: 'measured' });
    experience.a = 0.6;
    monitor.refresh();
    expect(monitor.get('a')).toMatchObject({
      factor: 0.6,
      components: { experience: 0.6 },
      reasons: ['viewers_fare_worse'],
    });
  });

  it('is not shaken by a clock that jumps', () => {
    rounds(3, { a: 'measured' });
    clock.stepWallClock(-86_400_000);
    rounds(3, { a: 'measured' });
    clock.stepWallClock(2 * 86_400_000);
    rounds(3, { a: 'measured' });
    expect(monitor.get('a')).toMatchObject({ state: 'healthy', factor: 1 });
    expect(monitor.history('a').length).toBeGreaterThan(0);
  });

  it('forgets a CDN that is gone or is another one now', async () => {
    rounds(5, { a: 'failed', b: 'failed', c: 'measured' });
    monitor.setCdns([monitored('a', { baseUrl: 'https://other.example' }), monitored('c')]);
    expect(monitor.get('a')).toMatchObject({ state: 'unknown', factor: 1 });
    expect(monitor.get('b')).toMatchObject({ state: 'unknown', factor: 1 });
    expect(monitor.history('b')).toEqual([]);
    expect(await metrics.getSingleMetricAsString('steering_cdn_health_factor')).not.toContain('cdn="b"');
  });

  it('keeps a bounded history of the last 15 minutes', () => {
    rounds(2_000, { a: 'measured' });
    const history = monitor.history('a');
    expect(history.length).toBeLessThanOrEqual(HISTORY_SAMPLES_MAX);
    expect(history.length).toBeGreaterThan(HISTORY_SAMPLES_MAX - 5);
    expect(history[0]?.atMs).toBeGreaterThan(clock.nowMs() - 15 * 60_000);
    expect(history.at(-1)?.atMs).toBe(clock.nowMs());
  });

  describe('a stream that fares worse than its CDN', () => {
    const mixed = (times: number): void => {
      for (let time = 0; time < times; time++) {
        clock.advance(1_000);
        for (const cdn of ['a', 'b', 'c'])
          monitor.report(cdn, [
            sample(cdn, 'measured', 'fine'),
            sample(cdn, cdn === 'a' ? 'failed' : 'measured', 'broken'),
          ]);
      }
    };

    it('is steered away from it, and the others are not', () => {
      mixed(5);
      expect(monitor.get('a').state).toBe('healthy');
      expect(monitor.get('a', 'fine').state).toBe('healthy');
      expect(monitor.get('a', 'broken')).toMatchObject({
        state: 'ejected',
        factor: 0,
        reasons: ['hold_timeout'],
      });
      expect(monitor.get('b', 'broken').state).toBe('healthy');
      expect(monitor.troubledStreams('a')).toEqual(['broken']);
    });

    it('is left alone when it is broken everywhere', () => {
      for (let time = 0; time < 6; time++) {
        clock.advance(1_000);
        for (const cdn of ['a', 'b', 'c'])
          monitor.report(cdn, [sample(cdn, 'measured', 'fine'), sample(cdn, 'failed', 'broken')]);
      }
      expect(monitor.get('a', 'broken')).toMatchObject({ state: 'healthy', factor: 1 });
    });

    it('is not held responsible for a CDN that failed as a whole', () => {
      rounds(2, { a: 'measured', b: 'measured' });
      rounds(5, { a: 'failed', b: 'measured' });
      expect(monitor.get('a').state).toBe('ejected');
      expect(monitor.troubledStreams('a')).toEqual([]);
    });

    it('is forgotten when nobody watches it any more', () => {
      mixed(5);
      clock.advance(61_000);
      monitor.report('a', [sample('a', 'measured', 'fine')]);
      monitor.refresh();
      expect(monitor.get('a', 'broken').factor).toBe(1);
    });
  });

  it('remembers a bounded number of streams', () => {
    const streams = new StreamHealth(clock);
    for (let stream = 0; stream < STREAM_STATES_MAX + 100; stream++)
      streams.report(sample('a', 'failed', `s${stream}`), DEFAULT_HEALTH_RULES);
    expect(streams.size).toBe(STREAM_STATES_MAX);
  });
});
