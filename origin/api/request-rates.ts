import { Counter, Gauge } from 'prom-client';
import type { Clock } from '#runtime/clock.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Metrics } from '#runtime/metrics.ts';

/** Requests that a key may make at once, as a multiple of what it may make in a second. */
export const BURST_SECONDS = 5;
/** Keys whose requests are counted; the one that asked longest ago is forgotten for a new one. */
export const COUNTED_KEYS_MAX = 10_000;

/** How often each key of the API may ask: a bounded table with a bucket of requests for each. */
export class RequestRates {
  readonly #perSecond: number;
  readonly #clock: Clock;
  /** In the order of their last request. */
  readonly #buckets = new Map<string, { requests: number; atMs: number }>();
  readonly #refused: Counter;

  constructor(perSecond: number, deps: { readonly clock: Clock; readonly metrics: Metrics }) {
    this.#perSecond = perSecond;
    this.#clock = deps.clock;
    const registers = [deps.metrics];
    this.#refused = new Counter({
      name: 'origin_api_requests_limited_total',
      help: 'Requests of the API refused because their key had asked too often.',
      registers,
    });
    const size = (): number => this.#buckets.size;
    new Gauge({
      name: 'origin_api_rate_keys',
      help: 'API keys whose requests are counted.',
      registers,
      collect() {
        this.set(size());
      },
    });
  }

  /** Counts a request. @throws {ProblemError} 429 `rate_limited` with Retry-After */
  take(keyId: string): void {
    const full = this.#perSecond * BURST_SECONDS;
    const atMs = this.#clock.monotonicMs();
    const before = this.#buckets.get(keyId) ?? { requests: full, atMs };
    const earned = ((atMs - before.atMs) / 1_000) * this.#perSecond;
    const requests = Math.min(full, before.requests + earned);
    const isAllowed = requests >= 1;
    this.#buckets.delete(keyId);
    this.#buckets.set(keyId, { requests: isAllowed ? requests - 1 : requests, atMs });
    for (const oldest of this.#buckets.keys()) {
      if (this.#buckets.size <= COUNTED_KEYS_MAX) break;
      this.#buckets.delete(oldest);
    }
    if (isAllowed) return;
    this.#refused.inc();
    const retryAfterS = Math.max(1, Math.ceil((1 - requests) / this.#perSecond));
    throw new ProblemError(
      429,
      'rate_limited',
      `This key may ask ${this.#perSecond} times a second; wait before the next request.`,
      { headers: { 'retry-after': String(retryAfterS) } },
    );
  }
}
