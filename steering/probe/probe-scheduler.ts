import { setMaxListeners } from 'node:events';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import type { HealthInput } from '#steering/health/health-reducer.ts';
import type { ProbeTarget } from '#steering/probe/cdn-probe.ts';
import type { ReferenceRound } from '#steering/probe/origin-reference.ts';
import { ProbeBudget } from '#steering/probe/probe-budget.ts';
import { ProbeUnjudged } from '#steering/probe/probe-failure.ts';
import type { ProbeMetrics } from '#steering/probe/probe-metrics.ts';
import type { ProbeSample, UnjudgedReason } from '#steering/probe/probe-sample.ts';
import { ReferenceRounds, type TakeReference } from '#steering/probe/reference-rounds.ts';
import { StallWatch } from '#steering/probe/stall-watch.ts';
import { chooseStreams, streamsPerRound } from '#steering/probe/stream-slots.ts';

/** A CDN that is to be probed. */
export type ScheduledCdn = ProbeTarget & { readonly intervalMs: number };

export type SchedulerOptions = {
  /** Most probes that begin in one second, over all CDNs and streams. */
  readonly probesPerSecondMax: number;
  /** Most streams that one round of a CDN looks at. */
  readonly streamsPerRoundMax: number;
};

export type SchedulerDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: ProbeMetrics;
  /** 0…1. */
  readonly random: () => number;
  /** The CDNs to probe now. */
  readonly cdns: () => readonly ScheduledCdn[];
  /** Ids of the streams that are live now. */
  readonly liveStreams: () => readonly string[];
  readonly takeReference: TakeReference;
  readonly probe: (
    target: ScheduledCdn,
    reference: ReferenceRound,
    turn: number,
    signal: AbortSignal,
  ) => Promise<ProbeSample>;
  /** Streams that are watched on for a CDN because they were in trouble. */
  readonly troubled: (cdn: string) => readonly string[];
  /** Takes the samples of a round; says how the CDN did. */
  readonly report: (
    cdn: string,
    samples: readonly ProbeSample[],
    watched: readonly ProbeSample[],
  ) => HealthInput;
};

/** How often it is looked who is due. */
const TICK_MS = 50;
/** Rounds of one CDN under way at once; a hanging CDN must not pile up more. */
export const ROUNDS_IN_FLIGHT_MAX = 6;
/** Probes under way at once, over all CDNs. */
export const PROBES_IN_FLIGHT_MAX = 256;
/**
 * After the first bad round of an incident this many follow at this distance, without waiting for one another: a lost
 * probe is told from a dead CDN that way within the time that a hanging one needs to be noticed twice.
 */
export const CONFIRMATIONS = 4;
export const CONFIRM_MS = 250;
/** Streams a confirmation adds, so that a broken stream is told from a broken CDN. */
const CONFIRM_STREAMS_MORE = 1;
const WATCHED_STREAMS_PER_ROUND = 1;
/** Share of an interval by which it is shortened at random. */
const JITTER = 0.1;

type Plan = {
  readonly baseUrl: string;
  dueMs: number;
  inFlight: number;
  /** Confirmations still to come. */
  confirmations: number;
  /** A bad round was seen, and no good one since. */
  incident: boolean;
  turn: number;
};

/**
 * Decides when which CDN is probed with which streams. Within a budget per second whatever the number of CDNs and
 * streams is; never more than {@link ROUNDS_IN_FLIGHT_MAX} rounds of a CDN at once.
 */
export class ProbeScheduler {
  readonly #options: SchedulerOptions;
  readonly #deps: SchedulerDeps;
  readonly #budget: ProbeBudget;
  readonly #references: ReferenceRounds;
  readonly #stall: StallWatch;
  readonly #abort = new AbortController();
  readonly #plans = new Map<string, Plan>();
  readonly #rounds = new Set<Promise<void>>();
  #probesInFlight = 0;
  #timer: Timer | undefined;

  constructor(options: SchedulerOptions, deps: SchedulerDeps) {
    this.#options = options;
    this.#deps = deps;
    // Every probe under way listens; their number has its own limit.
    setMaxListeners(0, this.#abort.signal);
    this.#budget = new ProbeBudget(options.probesPerSecondMax, deps.clock);
    this.#references = new ReferenceRounds(deps.takeReference, {
      clock: deps.clock,
      signal: this.#abort.signal,
    });
    this.#stall = new StallWatch(deps.clock);
    this.#tick();
  }

  /** Ends all probes; resolves when none is left. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    this.#stall.close();
    this.#abort.abort();
    await Promise.all(this.#rounds);
  }

  #tick(): void {
    if (this.#abort.signal.aborted) return;
    this.#timer = this.#deps.clock.after(TICK_MS, () => this.#tick());
    const nowMs = this.#deps.clock.monotonicMs();
    const cdns = this.#deps.cdns();
    this.#forgetGone(cdns);
    const live = this.#deps.liveStreams();
    const roundsPerSecond = cdns.reduce((sum, { intervalMs }) => sum + 1_000 / intervalMs, 0);
    const { probesPerSecondMax, streamsPerRoundMax } = this.#options;
    const count = streamsPerRound(probesPerSecondMax, roundsPerSecond, streamsPerRoundMax);
    this.#deps.metrics.streams(live.length, count);
    if (live.length === 0) return;
    // CDNs that begin together get the same jitter, so that they stay together and share the reference.
    const jitter = 1 - this.#deps.random() * JITTER;
    const due = cdns
      .map((cdn) => ({ cdn, plan: this.#plan(cdn) }))
      .filter(({ plan }) => plan.dueMs <= nowMs)
      .sort((a, b) => a.plan.dueMs - b.plan.dueMs);
    for (const { cdn, plan } of due) this.#begin(cdn, plan, live, count, nowMs, jitter);
  }

  #begin(
    cdn: ScheduledCdn,
    plan: Plan,
    live: readonly string[],
    count: number,
    nowMs: number,
    jitter: number,
  ): void {
    const more = plan.confirmations > 0 ? CONFIRM_STREAMS_MORE : 0;
    const wanted = chooseStreams(live, count + more, nowMs);
    if (plan.inFlight >= ROUNDS_IN_FLIGHT_MAX) {
      this.#deps.metrics.skipped('overlap', wanted.length);
      plan.dueMs = nowMs + cdn.intervalMs * jitter;
      return;
    }
    const room = Math.max(0, PROBES_IN_FLIGHT_MAX - this.#probesInFlight);
    const granted = this.#budget.take(Math.min(wanted.length, room));
    if (granted < wanted.length) this.#deps.metrics.skipped('budget', wanted.length - granted);
    // Without budget it stays due, and the one that has waited longest goes first.
    if (granted === 0) return;
    if (plan.confirmations > 0) plan.confirmations--;
    plan.dueMs = nowMs + (plan.confirmations > 0 ? CONFIRM_MS : cdn.intervalMs) * jitter;
    const streams = wanted.slice(0, granted);
    const watched = this.#deps
      .troubled(cdn.cdn)
      .filter((stream) => live.includes(stream) && !streams.includes(stream));
    const watchedNow = rotate(watched, plan.turn).slice(0, WATCHED_STREAMS_PER_ROUND);
    const round = this.#round(cdn, plan, streams, watchedNow.slice(0, this.#budget.take(watchedNow.length)))
      .catch((error: unknown) => {
        this.#deps.logger.error({ err: error, cdn: cdn.cdn }, 'a round of probes failed');
      })
      .finally(() => {
        plan.inFlight--;
        this.#rounds.delete(round);
      });
    plan.inFlight++;
    plan.turn++;
    this.#rounds.add(round);
  }

  async #round(
    cdn: ScheduledCdn,
    plan: Plan,
    streams: readonly string[],
    watched: readonly string[],
  ): Promise<void> {
    const { turn } = plan;
    const [samples, watchedSamples] = await Promise.all([
      Promise.all(streams.map((stream) => this.#probe(cdn, stream, turn))),
      Promise.all(watched.map((stream) => this.#probe(cdn, stream, turn))),
    ]);
    if (this.#abort.signal.aborted || this.#plans.get(cdn.cdn) !== plan) return;
    const input = this.#deps.report(cdn.cdn, samples, watchedSamples);
    this.#confirm(plan, input);
  }

  /** After the first bad round of an incident the next ones come sooner. */
  #confirm(plan: Plan, input: HealthInput): void {
    if (!input.judged) return;
    if (!input.hard && input.score >= 0.5) {
      plan.incident = false;
      plan.confirmations = 0;
      return;
    }
    if (plan.incident) return;
    plan.incident = true;
    plan.confirmations = CONFIRMATIONS;
    plan.dueMs = Math.min(plan.dueMs, this.#deps.clock.monotonicMs() + CONFIRM_MS);
  }

  async #probe(cdn: ScheduledCdn, streamId: string, turn: number): Promise<ProbeSample> {
    const startMs = this.#deps.clock.monotonicMs();
    this.#probesInFlight++;
    this.#deps.metrics.inFlight(this.#probesInFlight);
    try {
      const reference = await this.#references.get(streamId);
      const sample = await this.#deps.probe(cdn, reference, turn, this.#abort.signal);
      return this.#finished(
        this.#stall.stalledSince(startMs) ? this.#unjudged(cdn, streamId, 'prober_stalled') : sample,
      );
    } catch (error) {
      if (!(error instanceof ProbeUnjudged)) throw error;
      return this.#finished(this.#unjudged(cdn, streamId, error.code));
    } finally {
      this.#probesInFlight--;
      this.#deps.metrics.inFlight(this.#probesInFlight);
    }
  }

  #finished(sample: ProbeSample): ProbeSample {
    this.#deps.metrics.sample(sample);
    return sample;
  }

  #unjudged(cdn: ScheduledCdn, streamId: string, unjudgedBecause: UnjudgedReason): ProbeSample {
    const atMs = this.#deps.clock.monotonicMs();
    const nothing = { components: {}, reasons: [], stagesMs: {} };
    return { cdn: cdn.cdn, streamId, verdict: 'unjudged', ...nothing, atMs, unjudgedBecause };
  }

  #plan({ cdn, baseUrl }: ScheduledCdn): Plan {
    const before = this.#plans.get(cdn);
    if (before?.baseUrl === baseUrl) return before;
    const plan = { baseUrl, dueMs: 0, inFlight: 0, confirmations: 0, incident: false, turn: 0 };
    this.#plans.set(cdn, plan);
    return plan;
  }

  #forgetGone(cdns: readonly ScheduledCdn[]): void {
    if (this.#plans.size <= cdns.length) return;
    const names = new Set(cdns.map(({ cdn }) => cdn));
    for (const name of this.#plans.keys()) {
      if (names.has(name)) continue;
      this.#plans.delete(name);
      this.#deps.metrics.forget(name);
    }
  }
}

function rotate<Item>(items: readonly Item[], by: number): readonly Item[] {
  const at = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(at), ...items.slice(0, at)];
}
