import type { Clock } from '#runtime/clock.ts';
import type { CdnHealth } from '#steering/health/cdn-health.ts';
import {
  expireHealth,
  factorOf,
  initialHealth,
  reduceHealth,
  type HealthState,
} from '#steering/health/health-reducer.ts';
import type { HealthRules } from '#steering/health/health-rules.ts';
import { mergeSamples } from '#steering/health/merge-samples.ts';
import type { ProbeSample } from '#steering/probe/probe-sample.ts';

/** Pairs of CDN and stream that are remembered at once; the one unheard of for longest goes first. */
export const STREAM_STATES_MAX = 4_096;
/** Streams in trouble that are watched on per CDN. */
export const TROUBLED_PER_CDN_MAX = 16;

type Pair = {
  readonly cdn: string;
  readonly streamId: string;
  state: HealthState;
  rules: HealthRules;
  reasons: readonly string[];
  sinceMs: number;
};

/** What is believed of single streams on single CDNs, by the same rules as of whole CDNs. Bounded. */
export class StreamHealth {
  readonly #clock: Clock;
  /** In the order of the last report. */
  readonly #pairs = new Map<string, Pair>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The part of a CDN's health that one stream changes; `undefined` while nothing is wrong with it. */
  get(
    cdn: string,
    streamId: string,
    rules: HealthRules,
  ): Pick<CdnHealth, 'state' | 'factor' | 'reasons' | 'sinceMs'> | undefined {
    const pair = this.#pairs.get(key(cdn, streamId));
    if (pair === undefined || pair.state.state === 'healthy' || pair.state.state === 'unknown')
      return undefined;
    return {
      state: pair.state.state,
      factor: factorOf(pair.state, rules),
      reasons: pair.reasons,
      sinceMs: pair.sinceMs,
    };
  }

  /** Streams of a CDN that have fallen or are coming back, at most {@link TROUBLED_PER_CDN_MAX}. */
  troubled(cdn: string): readonly string[] {
    const streams: string[] = [];
    for (const pair of this.#pairs.values()) {
      if (pair.cdn !== cdn || pair.state.state === 'healthy' || pair.state.state === 'unknown') continue;
      streams.push(pair.streamId);
      if (streams.length >= TROUBLED_PER_CDN_MAX) break;
    }
    return streams;
  }

  /** Returns whether the factor or the state of the stream changed. */
  report(sample: ProbeSample, rules: HealthRules): boolean {
    const id = key(sample.cdn, sample.streamId);
    const nowMs = this.#clock.monotonicMs();
    const pair = this.#pairs.get(id) ?? {
      cdn: sample.cdn,
      streamId: sample.streamId,
      state: initialHealth(nowMs),
      rules,
      reasons: [],
      sinceMs: this.#clock.nowMs(),
    };
    const before = pair.state;
    pair.rules = rules;
    pair.state = reduceHealth(before, mergeSamples([sample]), nowMs, rules);
    if (sample.reasons.length > 0) pair.reasons = sample.reasons;
    if (before.state !== pair.state.state) pair.sinceMs = this.#clock.nowMs();
    this.#pairs.delete(id);
    this.#pairs.set(id, pair);
    this.#evict();
    return before.state !== pair.state.state || factorOf(before, rules) !== factorOf(pair.state, rules);
  }

  /** Forgets pairs that were not heard of for long; returns whether one of them had mattered. */
  expire(): boolean {
    const nowMs = this.#clock.monotonicMs();
    let mattered = false;
    for (const [id, pair] of this.#pairs) {
      // A stream in trouble that nobody watches any more must not stay ejected by what was once seen.
      const expired = expireHealth({ ...pair.state, state: 'suspect' }, nowMs, pair.rules);
      if (expired.state !== 'unknown') continue;
      if (pair.state.state !== 'healthy' && pair.state.state !== 'unknown') mattered = true;
      this.#pairs.delete(id);
    }
    return mattered;
  }

  forgetCdn(cdn: string): void {
    for (const [id, pair] of this.#pairs) if (pair.cdn === cdn) this.#pairs.delete(id);
  }

  get size(): number {
    return this.#pairs.size;
  }

  #evict(): void {
    for (const oldest of this.#pairs.keys()) {
      if (this.#pairs.size <= STREAM_STATES_MAX) break;
      this.#pairs.delete(oldest);
    }
  }
}

function key(cdn: string, streamId: string): string {
  return `${cdn}\n${streamId}`;
}
