import { hash, randomBytes } from 'node:crypto';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { Disposable } from '#runtime/lifecycle.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { Cohort, type CohortSummary } from '#steering/qoe/cohort.ts';
import { experienceFactor, steppedFactor, VOICES_MIN } from '#steering/qoe/experience-factor.ts';
import {
  readSteering,
  type PlaybackObservation,
  type SteeringObservation,
} from '#steering/qoe/observation.ts';
import { createQoeMetrics, type QoeMetrics } from '#steering/qoe/qoe-metrics.ts';
import { RecentMap } from '#steering/qoe/recent-map.ts';
import { cohortsOf, globalCohort, splitCohort, voiceOf, type Place } from '#steering/qoe/viewer-place.ts';

/** Cohorts of places kept at once. */
export const COHORTS_MAX = 2_000;
/** Voices sampled of all viewers of a CDN, and of those in one country or network. */
export const GLOBAL_VOICES_MAX = 512;
export const PLACE_VOICES_MAX = 128;
/** Sessions of which the CDN in use is remembered, for reports that do not name it. */
export const SESSIONS_MAX = 50_000;
/** How often the factors are reckoned anew. */
const RECKON_MS = 2_000;

export type QoeDeps = {
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** Names of the CDNs there are; what is said of others is not heard. */
  readonly isCdn: (name: string) => boolean;
};

type Entry = { readonly cohort: Cohort; factor: number; eligible: boolean; summary: CohortSummary };

/**
 * How viewers fare on each CDN, by what their players say: where they were sent and where they play, what CMCD reports of
 * stalls and errors. Compared between CDNs per network, country and in all. Nothing a client sends is trusted: it is one
 * voice among at least {@link VOICES_MIN}. Memory is bounded whatever the number of viewers.
 */
export class Qoe implements Disposable {
  readonly #clock: Clock;
  /** The figures, for those who feed it. */
  readonly metrics: QoeMetrics;
  readonly #isCdn: (name: string) => boolean;
  readonly #entries = new Map<string, Entry>();
  readonly #sessionCdns = new RecentMap<string, string>(SESSIONS_MAX);
  readonly #listeners = new Set<() => void>();
  readonly #secret = randomBytes(16).toString('hex');
  #timer: Timer;
  #generation = 0;

  constructor(deps: QoeDeps) {
    this.#clock = deps.clock;
    this.metrics = createQoeMetrics(deps.metrics);
    this.#isCdn = deps.isCdn;
    const tick = (): void => {
      this.reckon();
      this.#timer = this.#clock.after(RECKON_MS, tick);
    };
    this.#timer = this.#clock.after(RECKON_MS, tick);
  }

  /** Takes what a steering request tells. Cheap; may be called for every request. */
  observeSteeringRequest(observation: SteeringObservation): void {
    const statements = readSteering(observation);
    for (const { cdn, value } of statements)
      this.#observe(
        cdn,
        observation.sessionId,
        observation.address,
        observation.place ?? {},
        value,
        'steering',
      );
    const { reported, sessionId } = observation;
    if (reported !== undefined && this.#isCdn(reported)) this.#sessionCdns.set(sessionId, reported);
  }

  /** Takes what a CMCD report tells. */
  observePlayback(observation: PlaybackObservation): void {
    const cdn = observation.cdn ?? this.#sessionCdns.get(observation.sessionId);
    if (cdn === undefined) {
      this.metrics.dropped('cdn_unknown');
      return;
    }
    const place = observation.place ?? {};
    const moved = this.#sessionCdns.get(observation.sessionId) !== cdn;
    if (this.#isCdn(cdn)) this.#sessionCdns.set(observation.sessionId, cdn);
    // A stall reported with the first request to a CDN happened on the one before it.
    const value = observation.aboutThePast === true && moved ? 1 : observation.value;
    this.#observe(cdn, observation.sessionId, observation.address, place, value, 'cmcd');
  }

  /**
   * What viewers' experience makes of a CDN's weight, 0.3 … 1: by the narrowest cohort of `place` with enough voices, or
   * of all viewers when no place is given. Already part of `HealthView` without a place.
   */
  factor(cdn: string, place: Place = {}): number {
    for (const key of cohortsOf(cdn, place)) {
      const entry = this.#entries.get(key);
      if (entry?.eligible === true) return entry.factor;
    }
    return 1;
  }

  /**
   * What a viewer's place adds to the experience of all viewers: multiply it with the factor of `HealthView`, which has
   * the latter in it.
   */
  placeFactor(cdn: string, place: Place): number {
    return Math.min(1, this.factor(cdn, place) / this.factor(cdn));
  }

  /** Grows with every change of any factor. */
  get generation(): number {
    return this.#generation;
  }

  /** Calls `listener` after each change of a factor; the returned function ends that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Voices and mean experience of all viewers of a CDN, for the console. */
  summary(cdn: string): CohortSummary {
    return this.#entries.get(globalCohort(cdn))?.summary ?? { voices: 0, mean: 1 };
  }

  /** Reckons all factors anew; runs by itself every two seconds. */
  reckon(): void {
    const nowMs = this.#clock.monotonicMs();
    const byPlace = new Map<string, { key: string; cdn: string; entry: Entry }[]>();
    for (const [key, entry] of this.#entries) {
      const { cdn, place } = splitCohort(key);
      entry.summary = entry.cohort.summarise(nowMs);
      if (!this.#isCdn(cdn) || (entry.summary.voices === 0 && entry.factor === 1)) {
        this.#entries.delete(key);
        continue;
      }
      const rivals = byPlace.get(place);
      if (rivals === undefined) byPlace.set(place, [{ key, cdn, entry }]);
      else rivals.push({ key, cdn, entry });
    }
    let changed = false;
    for (const rivals of byPlace.values())
      for (const { cdn, entry } of rivals) {
        const others = rivals.filter((rival) => rival.cdn !== cdn).map((rival) => rival.entry.summary);
        const factor = steppedFactor(experienceFactor(entry.summary, others), entry.factor);
        const eligible = entry.summary.voices >= VOICES_MIN;
        changed ||= factor !== entry.factor || (eligible !== entry.eligible && factor !== 1);
        entry.factor = factor;
        entry.eligible = eligible;
      }
    this.metrics.cohorts(this.#entries.size);
    for (const { cdn, entry } of byPlace.get('') ?? []) this.metrics.factor(cdn, entry.factor);
    if (!changed) return;
    this.#generation++;
    for (const listener of this.#listeners) listener();
  }

  async close(): Promise<void> {
    this.#timer.cancel();
  }

  #observe(
    cdn: string,
    sessionId: string,
    address: string | undefined,
    place: Place,
    value: number,
    source: 'steering' | 'cmcd',
  ): void {
    if (!this.#isCdn(cdn)) {
      this.metrics.dropped('cdn_unknown');
      return;
    }
    this.metrics.observed(cdn, source);
    const voice = voiceOf(address);
    const rank = this.#rank(voice);
    const nowMs = this.#clock.monotonicMs();
    const clamped = Math.min(1, Math.max(0, value));
    for (const key of cohortsOf(cdn, place))
      this.#entry(key)?.cohort.observe(voice, rank, sessionId, clamped, nowMs);
  }

  /** `undefined` when there is no room for one more place; those that fall silent make room. */
  #entry(key: string): Entry | undefined {
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    const isGlobal = key.endsWith('\n');
    if (!isGlobal && this.#entries.size >= COHORTS_MAX) {
      this.metrics.dropped('cohorts_full');
      return undefined;
    }
    const entry: Entry = {
      cohort: new Cohort(isGlobal ? GLOBAL_VOICES_MAX : PLACE_VOICES_MAX),
      factor: 1,
      eligible: false,
      summary: { voices: 0, mean: 1 },
    };
    this.#entries.set(key, entry);
    return entry;
  }

  /** Keyed with a secret of this process, so that nobody can search for addresses that are always in the sample. */
  #rank(voice: string): number {
    return Number.parseInt(hash('sha256', this.#secret + voice, 'hex').slice(0, 12), 16);
  }
}
