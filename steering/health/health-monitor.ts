import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type {
  CdnHealth,
  CdnState,
  HealthHistory,
  HealthSample,
  HealthView,
} from '#steering/health/cdn-health.ts';
import { limitEjections, type EjectionVerdict } from '#steering/health/ejection-limit.ts';
import { createHealthMetrics, type HealthMetrics } from '#steering/health/health-metrics.ts';
import { HealthRing } from '#steering/health/health-history.ts';
import {
  expireHealth,
  factorOf,
  initialHealth,
  reduceHealth,
  type HealthState,
} from '#steering/health/health-reducer.ts';
import type { HealthRules } from '#steering/health/health-rules.ts';
import { mergeSamples, type MergedSample } from '#steering/health/merge-samples.ts';
import { StreamHealth } from '#steering/health/stream-health.ts';
import type { ProbeSample } from '#steering/probe/probe-sample.ts';

/** What the monitor must know of a CDN. */
export type MonitoredCdn = {
  readonly name: string;
  /** A CDN with another base URL is another CDN: its history does not count. */
  readonly baseUrl: string;
  /** Counts when it is decided how many may be ejected. */
  readonly enabled: boolean;
  readonly rules: HealthRules;
};

/** How viewers fare, as one more component. 0…1; 1 when nothing is known. */
export type ExperienceFactor = (cdn: string) => number;

export type HealthMonitorDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly experience: ExperienceFactor;
};

/** What a fallen CDN keeps that could not be ejected because of the limit. */
const SPARED_FACTOR = 0.1;

type Entry = {
  cdn: MonitoredCdn;
  state: HealthState;
  merged: MergedSample;
  view: CdnHealth;
  readonly ring: HealthRing;
  /** Wall clock of the last change of the state that is shown. */
  shownSinceMs: number;
};

/**
 * Owns what is believed of each CDN. Probes report to it, the answers read from it; it decides with the pure rules of
 * `health-reducer.ts` and `ejection-limit.ts` and remembers nothing else.
 */
export class HealthMonitor implements HealthView, HealthHistory {
  readonly #deps: HealthMonitorDeps;
  readonly #ejectedShareMax: number;
  readonly #metrics: HealthMetrics;
  readonly #entries = new Map<string, Entry>();
  readonly #streams: StreamHealth;
  readonly #listeners = new Set<() => void>();
  #generation = 0;
  #panic = false;

  /** @param ejectedShareMax most of the enabled CDNs that may be ejected at once, 0…1 */
  constructor(options: { ejectedShareMax: number }, deps: HealthMonitorDeps) {
    this.#deps = deps;
    this.#ejectedShareMax = options.ejectedShareMax;
    this.#metrics = createHealthMetrics(deps.metrics);
    this.#streams = new StreamHealth(deps.clock);
  }

  get generation(): number {
    return this.#generation;
  }

  /** Whether all CDNs have fallen, so that health is ignored. */
  get panic(): boolean {
    return this.#panic;
  }

  get(cdn: string, streamId?: string): CdnHealth {
    const entry = this.#entries.get(cdn);
    if (entry === undefined) return unknownHealth(cdn, this.#generation);
    if (streamId === undefined || entry.view.state === 'ejected') return entry.view;
    const stream = this.#streams.get(cdn, streamId, entry.cdn.rules);
    if (stream === undefined || stream.factor >= entry.view.factor) return entry.view;
    // A stream that no CDN can deliver well is no reason to leave the order that ops gave.
    if (stream.state === 'ejected' && !this.#hasBetter(streamId)) return entry.view;
    return { ...entry.view, ...stream, generation: entry.view.generation };
  }

  history(cdn: string): readonly HealthSample[] {
    return this.#entries.get(cdn)?.ring.since(this.#deps.clock.nowMs()) ?? [];
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Streams that fare badly on a CDN and want to be watched on. */
  troubledStreams(cdn: string): readonly string[] {
    return this.#streams.troubled(cdn);
  }

  /** Makes the monitor watch these CDNs and no others. */
  setCdns(cdns: readonly MonitoredCdn[]): void {
    const names = new Set(cdns.map(({ name }) => name));
    for (const name of this.#entries.keys()) {
      if (names.has(name)) continue;
      this.#entries.delete(name);
      this.#streams.forgetCdn(name);
      this.#metrics.forget(name);
    }
    for (const cdn of cdns) {
      const before = this.#entries.get(cdn.name);
      if (before?.cdn.baseUrl === cdn.baseUrl) before.cdn = cdn;
      else {
        this.#streams.forgetCdn(cdn.name);
        this.#entries.set(cdn.name, this.#newEntry(cdn));
      }
    }
    this.refresh();
  }

  /**
   * Takes the results of one round of probes of one CDN: those that judge the CDN, and those of streams that are watched
   * because they were in trouble before.
   *
   * @returns what the round says of the CDN
   */
  report(cdn: string, samples: readonly ProbeSample[], watched: readonly ProbeSample[] = []): MergedSample {
    const entry = this.#entries.get(cdn);
    const merged = mergeSamples(samples);
    if (entry === undefined) return merged;
    const nowMs = this.#deps.clock.monotonicMs();
    const before = entry.state;
    entry.state = reduceHealth(before, merged, nowMs, entry.cdn.rules);
    if (merged.judged || merged.reasons.length > 0) entry.merged = merged;
    if (before.state !== 'ejected' && entry.state.state === 'ejected') this.#metrics.ejected(cdn);
    let streamsChanged = false;
    // What is wrong with the CDN is not charged to its streams as well: they would come back later than it does.
    const blamed = merged.judged && (merged.hard || merged.score < entry.cdn.rules.badBelow);
    for (const sample of blamed ? [] : [...samples, ...watched])
      if (this.#streams.report(sample, entry.cdn.rules)) streamsChanged = true;
    this.#update(streamsChanged);
    return merged;
  }

  /** Lets what was not heard of for long be forgotten, and takes in changes of viewers' experience. */
  refresh(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    for (const entry of this.#entries.values())
      entry.state = expireHealth(entry.state, nowMs, entry.cdn.rules);
    const streamsChanged = this.#streams.expire();
    this.#update(streamsChanged);
  }

  #hasBetter(streamId: string): boolean {
    for (const { cdn, view } of this.#entries.values()) {
      if (!cdn.enabled || view.state === 'ejected') continue;
      if (this.#streams.get(cdn.name, streamId, cdn.rules)?.state !== 'ejected') return true;
    }
    return false;
  }

  #newEntry(cdn: MonitoredCdn): Entry {
    return {
      cdn,
      state: initialHealth(this.#deps.clock.monotonicMs()),
      merged: { judged: false, components: {}, reasons: [] },
      view: unknownHealth(cdn.name, this.#generation, this.#deps.clock.nowMs()),
      ring: new HealthRing(),
      shownSinceMs: this.#deps.clock.nowMs(),
    };
  }

  /** Recomputes what is shown of every CDN: the limit on ejections couples them. */
  #update(streamsChanged: boolean): void {
    const candidates = [...this.#entries.values()]
      .filter(({ cdn }) => cdn.enabled)
      .map(({ cdn, state }) => ({
        cdn: cdn.name,
        fallen: state.state === 'ejected',
        hard: state.ejectedHard,
        sinceMs: state.sinceMs,
      }));
    const verdict = limitEjections(candidates, this.#ejectedShareMax);
    if (verdict.panic !== this.#panic) {
      this.#panic = verdict.panic;
      this.#metrics.panic(verdict.panic);
      this.#deps.logger.warn({ panic: verdict.panic }, 'every CDN has fallen, or one has come back');
    }
    let changed = streamsChanged;
    for (const entry of this.#entries.values()) if (this.#show(entry, verdict)) changed = true;
    if (!changed) return;
    this.#generation++;
    for (const entry of this.#entries.values())
      if (entry.view.generation < 0) entry.view = { ...entry.view, generation: this.#generation };
    for (const listener of this.#listeners) listener();
  }

  /** Returns whether the factor or the state changed; the view then waits for its generation. */
  #show(entry: Entry, verdict: EjectionVerdict): boolean {
    const { name } = entry.cdn;
    const shown = shownState(entry, verdict);
    const experience = this.#deps.experience(name);
    const factor = Math.min(1, Math.max(0, shown.factor * experience));
    const before = entry.view;
    const changed = before.state !== shown.state || before.factor !== factor;
    if (before.state !== shown.state) {
      entry.shownSinceMs = this.#deps.clock.nowMs();
      this.#deps.logger.info(
        { cdn: name, from: before.state, to: shown.state, factor, reasons: shown.reasons },
        'a CDN changed its state',
      );
    }
    entry.view = {
      cdn: name,
      factor,
      state: shown.state,
      components: { ...entry.merged.components, experience },
      reasons: experience < 1 ? [...shown.reasons, 'viewers_fare_worse'] : shown.reasons,
      sinceMs: entry.shownSinceMs,
      generation: changed ? -1 : before.generation,
    };
    this.#metrics.show(name, factor, shown.state);
    entry.ring.push(
      { atMs: this.#deps.clock.nowMs(), factor, state: shown.state, components: entry.view.components },
      this.#deps.clock.monotonicMs(),
    );
    return changed;
  }
}

function shownState(
  entry: Entry,
  verdict: EjectionVerdict,
): { state: CdnState; factor: number; reasons: readonly string[] } {
  const { state, merged } = entry;
  const { name } = entry.cdn;
  const isWell = state.state === 'healthy' || (state.state === 'unknown' && merged.judged);
  const reasons = isWell ? [] : merged.reasons;
  if (verdict.panic && state.state === 'ejected')
    return { state: 'suspect', factor: 1, reasons: ['all_cdns_failing', ...reasons] };
  if (verdict.spared.has(name))
    return { state: 'suspect', factor: SPARED_FACTOR, reasons: ['too_many_ejected', ...reasons] };
  return { state: state.state, factor: factorOf(state, entry.cdn.rules), reasons };
}

function unknownHealth(cdn: string, generation: number, sinceMs = 0): CdnHealth {
  return { cdn, factor: 1, state: 'unknown', components: {}, reasons: [], sinceMs, generation };
}
