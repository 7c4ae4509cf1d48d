import { Counter, Gauge } from 'prom-client';
import type { Clock } from '#runtime/clock.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { Place } from '#steering/qoe/viewer-place.ts';
import { DecayingCount } from '#steering/demand/decaying-count.ts';

/** One answer, as far as it says how many watch where. */
export type AnsweredDemand = {
  /** The pathway that was put first. */
  readonly cdn: string;
  readonly streamId: string;
  /** Which of the CDNs with regions serve the viewer, as `regionGroup` writes it. */
  readonly regionGroup: string;
  /** From where the viewer watches, as far as that is known. */
  readonly place: Place;
  readonly ttlS: number;
  /** Part 0…1 of a viewer: less than 1 for a player that asks before its time, so that one in a loop stays one. */
  readonly weight: number;
};

/** Estimated viewers of a node, from its own answers. */
export type NodeDemand = {
  readonly cdns: Readonly<Record<string, number>>;
  readonly regionGroups: Readonly<Record<string, number>>;
};

/** Viewers of one stream on one CDN. */
export type StreamDemand = { readonly streamId: string; readonly cdn: string; readonly viewers: number };

/** Most combinations of stream and CDN that are counted apart; what comes on top counts for the CDN only. */
export const STREAM_COUNTS_MAX = 10_000;
/** Most CDNs counted; more than a registry holds, since CDNs come and go. */
export const CDN_COUNTS_MAX = 128;
/** Most region groups counted apart; the rest counts as viewers that no CDN with regions serves. */
export const REGION_GROUPS_MAX = 64;
/** Most countries and networks counted. */
export const PLACE_COUNTS_MAX = 512;
/** Most of them that are given out. */
const PLACES_READ_MAX = 200;
const SWEEP_INTERVAL_S = 30;

/**
 * Estimates viewers from the steering requests alone, in memory that depends on streams and CDNs and not on viewers. A
 * viewer counts from an answer until its TTL has passed.
 */
export class DemandMeter {
  readonly #clock: Clock;
  readonly #cdns = new Map<string, DecayingCount>();
  readonly #groups = new Map<string, DecayingCount>();
  readonly #streams = new Map<string, DecayingCount>();
  /** By `AS` and number, or by country. */
  readonly #places = new Map<string, DecayingCount>();
  readonly #overflow: Counter<'what'>;
  #sweptS = 0;

  constructor(deps: { readonly clock: Clock; readonly metrics: Metrics }) {
    this.#clock = deps.clock;
    const registers = [deps.metrics];
    this.#overflow = new Counter({
      name: 'steering_demand_overflow_total',
      help: 'Answers that were not counted apart because a limit was reached, by limit: cdns, regions, streams, places.',
      labelNames: ['what'],
      registers,
    });
    const streams = this.#streams;
    new Gauge({
      name: 'steering_demand_stream_counts',
      help: `Combinations of stream and CDN that are counted, at most ${STREAM_COUNTS_MAX}.`,
      registers,
      collect() {
        this.set(streams.size);
      },
    });
  }

  record(answer: AnsweredDemand): void {
    const nowS = this.#clock.monotonicMs() / 1_000;
    if (nowS - this.#sweptS > SWEEP_INTERVAL_S) this.#sweep(nowS);
    const { weight, ttlS } = answer;
    this.#count(this.#cdns, answer.cdn, CDN_COUNTS_MAX, 'cdns')?.add(weight, nowS, ttlS);
    const group =
      this.#count(this.#groups, answer.regionGroup, REGION_GROUPS_MAX, 'regions') ??
      this.#count(this.#groups, '', Infinity, 'regions');
    group?.add(weight, nowS, ttlS);
    const key = `${answer.streamId}/${answer.cdn}`;
    this.#count(this.#streams, key, STREAM_COUNTS_MAX, 'streams')?.add(weight, nowS, ttlS);
    const { country, asn } = answer.place;
    for (const place of [country, asn === undefined ? undefined : `AS${asn}`])
      if (place !== undefined)
        this.#count(this.#places, place, PLACE_COUNTS_MAX, 'places')?.add(weight, nowS, ttlS);
  }

  /** Countries and networks with viewers, those with most first; this node's own answers only. */
  places(): { readonly key: string; readonly place: Place }[] {
    const nowS = this.#clock.monotonicMs() / 1_000;
    return [...this.#places]
      .map(([key, count]) => ({ key, viewers: count.value(nowS) }))
      .filter(({ viewers }) => viewers > 0)
      .toSorted((a, b) => b.viewers - a.viewers)
      .slice(0, PLACES_READ_MAX)
      .map(({ key }) => ({
        key,
        place: key.startsWith('AS') && key.length > 2 ? { asn: Number(key.slice(2)) } : { country: key },
      }));
  }

  /** What this node's own answers say. */
  read(): NodeDemand {
    const nowS = this.#clock.monotonicMs() / 1_000;
    return { cdns: readAll(this.#cdns, nowS), regionGroups: readAll(this.#groups, nowS) };
  }

  /** Streams by viewers, most first; this node's own answers only. */
  streams(limit: number): StreamDemand[] {
    const nowS = this.#clock.monotonicMs() / 1_000;
    return [...this.#streams]
      .map(([key, count]) => {
        const slash = key.indexOf('/');
        return { streamId: key.slice(0, slash), cdn: key.slice(slash + 1), viewers: count.value(nowS) };
      })
      .filter(({ viewers }) => viewers > 0)
      .toSorted((a, b) => b.viewers - a.viewers)
      .slice(0, limit);
  }

  #count(
    counts: Map<string, DecayingCount>,
    key: string,
    limit: number,
    what: string,
  ): DecayingCount | undefined {
    const known = counts.get(key);
    if (known !== undefined) return known;
    if (counts.size >= limit) {
      this.#overflow.inc({ what });
      return undefined;
    }
    const count = new DecayingCount();
    counts.set(key, count);
    return count;
  }

  /** Forgets what nobody watches any more. */
  #sweep(nowS: number): void {
    this.#sweptS = nowS;
    for (const counts of [this.#cdns, this.#groups, this.#streams, this.#places])
      for (const [key, count] of counts) if (count.value(nowS) === 0) counts.delete(key);
  }
}

function readAll(counts: ReadonlyMap<string, DecayingCount>, nowS: number): Record<string, number> {
  const entries = [...counts].map(([key, count]) => [key, Math.round(count.value(nowS) * 10) / 10] as const);
  return Object.fromEntries(entries.filter(([, value]) => value > 0));
}
