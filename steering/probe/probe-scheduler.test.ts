import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { HealthMonitor } from '#steering/health/health-monitor.ts';
import { DEFAULT_HEALTH_RULES } from '#steering/health/health-rules.ts';
import type { ReferenceRound } from '#steering/probe/origin-reference.ts';
import { ProbeUnjudged } from '#steering/probe/probe-failure.ts';
import { createProbeMetrics } from '#steering/probe/probe-metrics.ts';
import type { ProbeSample } from '#steering/probe/probe-sample.ts';
import {
  ProbeScheduler,
  ROUNDS_IN_FLIGHT_MAX,
  PROBES_IN_FLIGHT_MAX,
  type ScheduledCdn,
  type SchedulerDeps,
} from '#steering/probe/probe-scheduler.ts';
import { chooseStreams, DWELL_MS, streamsPerRound } from '#steering/probe/stream-slots.ts';
import { seededRandom } from '#tests/support/seeded-random.ts';

const logger = createLogger('test', 'silent');
const names = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`);

type Probed = { cdn: string; streamId: string; atMs: number };

/** A scheduler on a fake clock with probes that take `probeMs` and end as `verdict` says. */
class World {
  readonly clock = new FakeClock();
  readonly metrics = createMetrics('steering');
  readonly probed: Probed[] = [];
  readonly references: { streamId: string; atMs: number }[] = [];
  inFlight = 0;
  inFlightMax = 0;
  probeMs = 300;
  verdict: (cdn: string, streamId: string) => ProbeSample['verdict'] = () => 'measured';
  originGone = false;
  live: string[];
  cdns: ScheduledCdn[];
  readonly monitor: HealthMonitor;
  readonly scheduler: ProbeScheduler;

  constructor(options: {
    cdns: number;
    streams: number;
    perSecond?: number;
    perRound?: number;
    seed?: number;
  }) {
    this.live = names('s', options.streams);
    this.cdns = names('c', options.cdns).map((cdn) => ({
      cdn,
      baseUrl: `https://${cdn}`,
      intervalMs: 1_000,
    }));
    this.monitor = new HealthMonitor(
      { ejectedShareMax: 0.67 },
      { clock: this.clock, logger, metrics: this.metrics, experience: () => 1 },
    );
    this.monitor.setCdns(
      this.cdns.map(({ cdn, baseUrl }) => ({
        name: cdn,
        baseUrl,
        enabled: true,
        rules: DEFAULT_HEALTH_RULES,
      })),
    );
    const deps: SchedulerDeps = {
      clock: this.clock,
      logger,
      metrics: createProbeMetrics(this.metrics),
      random: seededRandom(options.seed ?? 1),
      cdns: () => this.cdns,
      liveStreams: () => this.live,
      takeReference: async (streamId) => {
        this.references.push({ streamId, atMs: this.clock.monotonicMs() });
        if (this.originGone) throw new ProbeUnjudged('reference_gone');
        return { streamId } as ReferenceRound;
      },
      probe: (target, { streamId }) => this.#probe(target.cdn, streamId),
      troubled: (cdn) => this.monitor.troubledStreams(cdn),
      report: (cdn, samples, watched) => this.monitor.report(cdn, samples, watched),
    };
    this.scheduler = new ProbeScheduler(
      { probesPerSecondMax: options.perSecond ?? 60, streamsPerRoundMax: options.perRound ?? 3 },
      deps,
    );
  }

  async #probe(cdn: string, streamId: string): Promise<ProbeSample> {
    this.probed.push({ cdn, streamId, atMs: this.clock.monotonicMs() });
    this.inFlight++;
    this.inFlightMax = Math.max(this.inFlightMax, this.inFlight);
    const verdict = this.verdict(cdn, streamId);
    await new Promise<void>((resolve) => this.clock.after(this.probeMs, resolve));
    this.inFlight--;
    const reasons: ProbeSample['reasons'] = verdict === 'failed' ? ['no_answer'] : [];
    const atMs = this.clock.monotonicMs();
    return { cdn, streamId, verdict, components: { hold: 1 }, reasons, atMs, stagesMs: {} };
  }

  async run(ms: number): Promise<void> {
    for (let passedMs = 0; passedMs < ms; passedMs += 50) {
      this.clock.advance(50);
      await nextTurn();
    }
  }

  async skipped(reason: string): Promise<number> {
    const { values } = (await this.metrics.getSingleMetric('steering_probe_skipped_total')?.get()) ?? {
      values: [],
    };
    return values.find(({ labels }) => labels.reason === reason)?.value ?? 0;
  }
}

describe('ProbeScheduler', () => {
  const worlds: World[] = [];
  const world = (options: ConstructorParameters<typeof World>[0]): World => {
    const built = new World(options);
    worlds.push(built);
    return built;
  };
  afterEach(async () => {
    for (const built of worlds.splice(0)) {
      const closed = built.scheduler.close();
      built.clock.advance(60_000);
      await closed;
    }
  });

  it('probes each CDN about once a second, and the origin once for all of them', async () => {
    const { probed, references, run } = bind(world({ cdns: 4, streams: 1 }));
    await run(30_000);
    for (const cdn of names('c', 4)) {
      const count = probed.filter((each) => each.cdn === cdn).length;
      expect(count).toBeGreaterThanOrEqual(28);
      expect(count).toBeLessThanOrEqual(36);
    }
    expect(references.length * 4).toBe(probed.length);
  });

  it('does nothing while no stream is live, and forgets what it knew', async () => {
    const built = world({ cdns: 2, streams: 1 });
    await built.run(5_000);
    expect(built.monitor.get('c0').state).toBe('healthy');
    built.live = [];
    const before = built.probed.length;
    await built.run(5_000);
    expect(built.probed.length).toBe(before);
    expect(built.monitor.get('c0').state).toBe('healthy');
  });

  it.each([
    [100, 100, 60],
    [4, 2_500, 60],
    [64, 156, 200],
  ])('stays within its budget with %i CDNs × %i streams', async (cdns, streams, perSecond) => {
    const built = world({ cdns, streams, perSecond });
    const seconds = 20;
    await built.run(seconds * 1_000);
    expect(built.probed.length).toBeLessThanOrEqual(perSecond * (seconds + 1));
    expect(built.probed.length).toBeGreaterThan(perSecond * seconds * 0.05);
    expect(built.inFlightMax).toBeLessThanOrEqual(PROBES_IN_FLIGHT_MAX);
    // Every CDN has its turn, also when the budget is smaller than their number.
    expect(new Set(built.probed.map(({ cdn }) => cdn)).size).toBe(cdns);
    const perCdn = names('c', cdns).map((cdn) => built.probed.filter((each) => each.cdn === cdn).length);
    expect(Math.max(...perCdn) / Math.min(...perCdn)).toBeLessThan(3);
    expect((await built.skipped('budget')) > 0).toBe(cdns > perSecond);
  });

  it('does not pile up rounds on a CDN that hangs', async () => {
    const built = world({ cdns: 1, streams: 1 });
    built.probeMs = 60_000;
    await built.run(30_000);
    expect(built.inFlightMax).toBeLessThanOrEqual(ROUNDS_IN_FLIGHT_MAX);
    expect(await built.skipped('overlap')).toBeGreaterThan(0);
  });

  it.each([
    [50, 'refuses at once'],
    [1_250, 'hangs until the deadline'],
  ])('finds a CDN dead within 5 s when each probe takes %i ms (%s)', async (probeMs) => {
    for (let phaseMs = 0; phaseMs < 1_000; phaseMs += 250) {
      const built = world({ cdns: 3, streams: 1, seed: phaseMs + 1 });
      await built.run(5_000 + phaseMs);
      built.verdict = (cdn) => (cdn === 'c1' ? 'failed' : 'measured');
      built.probeMs = probeMs;
      const faultMs = built.clock.monotonicMs();
      while (built.monitor.get('c1').factor > 0 && built.clock.monotonicMs() < faultMs + 20_000)
        await built.run(50);
      expect(built.clock.monotonicMs() - faultMs).toBeLessThanOrEqual(5_000);
      expect(built.monitor.get('c0').state).toBe('healthy');
    }
  });

  it('tells a broken stream from a broken CDN', async () => {
    const built = world({ cdns: 3, streams: 5, perRound: 1 });
    built.verdict = (cdn, streamId) => (cdn === 'c1' && streamId === 's0' ? 'failed' : 'measured');
    let cdnWasOut = false;
    let streamWasOut = false;
    for (let step = 0; step < 1_200; step++) {
      await built.run(50);
      cdnWasOut ||= built.monitor.get('c1').state === 'ejected';
      streamWasOut ||= built.monitor.get('c1', 's0').state === 'ejected';
    }
    expect({ cdnWasOut, streamWasOut }).toEqual({ cdnWasOut: false, streamWasOut: true });
  });

  it('blames nobody while the origin is gone', async () => {
    const built = world({ cdns: 3, streams: 2 });
    await built.run(5_000);
    built.originGone = true;
    const before = built.probed.length;
    await built.run(20_000);
    expect(built.probed.length).toBe(before);
    for (const cdn of names('c', 3)) expect(built.monitor.get(cdn).state).toBe('healthy');
  });

  it('does not believe what it measured while it stood still itself', async () => {
    const built = world({ cdns: 2, streams: 1 });
    await built.run(5_000);
    built.verdict = (cdn) => (cdn === 'c0' ? 'failed' : 'measured');
    for (let stall = 0; stall < 10; stall++) {
      // Time passes for everybody but us: timers come late, all at once.
      built.clock.advance(0);
      stallFor(built.clock, 2_000);
      await built.run(100);
    }
    expect(built.monitor.get('c0').state).not.toBe('ejected');
  });

  it('ends at once when it is closed', async () => {
    const built = world({ cdns: 2, streams: 1 });
    await built.run(1_000);
    const closed = built.scheduler.close();
    built.clock.advance(1_000);
    await closed;
    const before = built.probed.length;
    await built.run(3_000);
    expect(built.probed.length).toBe(before);
  });

  it('does not eject a healthy CDN that loses 2 % of its probes in an hour', async () => {
    for (const seed of [11, 12, 13]) {
      const built = world({ cdns: 2, streams: 1, seed });
      const random = seededRandom(seed);
      built.verdict = () => (random() < 0.02 ? 'failed' : 'measured');
      let ejected = 0;
      built.monitor.onChange(() => {
        for (const cdn of ['c0', 'c1']) if (built.monitor.get(cdn).state === 'ejected') ejected++;
      });
      await built.run(3_600_000);
      expect(ejected, `seed ${seed}`).toBe(0);
      expect(built.probed.length).toBeGreaterThan(7_000);
    }
  });
});

describe('chooseStreams', () => {
  it('takes all when there are few', () => {
    expect(chooseStreams(['b', 'a', 'a'], 3, 0)).toEqual(['a', 'b']);
  });

  it('stays with the same for a while and gives all their turn', () => {
    const live = names('s', 10);
    expect(chooseStreams(live, 3, 0)).toEqual(chooseStreams([...live].reverse(), 3, DWELL_MS - 1));
    const seen = new Set<string>();
    for (let turn = 0; turn < 10; turn++)
      for (const stream of chooseStreams(live, 3, turn * DWELL_MS)) seen.add(stream);
    expect(seen.size).toBe(10);
  });

  it.each([
    [60, 4, 3, 3],
    [60, 40, 3, 1],
    [60, 100, 3, 1],
    [60, 0, 3, 3],
  ])(
    'of a budget of %i for %i rounds a second, at most %i each, gives %i',
    (budget, rounds, max, expected) => {
      expect(streamsPerRound(budget, rounds, max)).toBe(expected);
    },
  );
});

function bind(built: World): { probed: Probed[]; references: World['references']; run: World['run'] } {
  return { probed: built.probed, references: built.references, run: (ms) => built.run(ms) };
}

/** Lets time pass without running what falls due meanwhile, as a blocked event loop does. */
function stallFor(clock: FakeClock, ms: number): void {
  const held: (() => void)[] = [];
  const after = clock.after.bind(clock);
  clock.after = (delayMs, callback) => after(delayMs, () => held.push(callback));
  clock.advance(ms);
  clock.after = after;
  for (const callback of held) callback();
}
