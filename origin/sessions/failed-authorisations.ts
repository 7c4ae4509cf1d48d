import { isIP } from 'node:net';
import { Counter, Gauge } from 'prom-client';
import type { Clock } from '#runtime/clock.ts';
import type { Metrics } from '#runtime/metrics.ts';

export type FailedAuthorisationsSettings = {
  /** Unknown keys that an address may present per minute; as many may come at once. */
  readonly perMinute: number;
  /** Addresses remembered; the one that failed longest ago is forgotten for a new one. */
  readonly addressesMax: number;
};

const MINUTE_MS = 60_000;

/** Slows down whoever guesses stream keys: a bounded table of addresses with a bucket of attempts each. */
export class FailedAuthorisations {
  readonly #settings: FailedAuthorisationsSettings;
  readonly #clock: Clock;
  /** In the order of their last failure. */
  readonly #buckets = new Map<string, { attempts: number; atMs: number }>();
  readonly #refused: Counter;

  constructor(
    settings: FailedAuthorisationsSettings,
    deps: { readonly clock: Clock; readonly metrics: Metrics },
  ) {
    this.#settings = settings;
    this.#clock = deps.clock;
    const registers = [deps.metrics];
    this.#refused = new Counter({
      name: 'origin_publish_attempts_refused_total',
      help: 'Publish attempts refused unseen because their address had presented too many unknown keys.',
      registers,
    });
    const size = (): number => this.#buckets.size;
    new Gauge({
      name: 'origin_publish_failing_addresses',
      help: 'Addresses remembered for unknown keys.',
      registers,
      collect() {
        this.set(size());
      },
    });
  }

  /** Whole seconds until `address` may try again; 0 when it may try now. */
  retryAfterS(address: string): number {
    const attempts = this.#attemptsLeft(toNetwork(address));
    if (attempts >= 1) return 0;
    this.#refused.inc();
    return Math.ceil(((1 - attempts) * MINUTE_MS) / this.#settings.perMinute / 1_000);
  }

  /** Counts one attempt of `address` with an unknown key. */
  record(address: string): void {
    const network = toNetwork(address);
    const attempts = Math.max(0, this.#attemptsLeft(network) - 1);
    this.#buckets.delete(network);
    for (const oldest of this.#buckets.keys()) {
      if (this.#buckets.size < this.#settings.addressesMax) break;
      this.#buckets.delete(oldest);
    }
    this.#buckets.set(network, { attempts, atMs: this.#clock.monotonicMs() });
  }

  #attemptsLeft(network: string): number {
    const { perMinute } = this.#settings;
    const bucket = this.#buckets.get(network);
    if (bucket === undefined) return perMinute;
    const earned = ((this.#clock.monotonicMs() - bucket.atMs) * perMinute) / MINUTE_MS;
    return Math.min(perMinute, bucket.attempts + earned);
  }
}

/** A household has one IPv4 address and 2^64 IPv6 addresses: those count as one. */
export function toNetwork(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '');
  if (isIP(plain) !== 6) return plain;
  const [head = '', tail] = plain.split('%', 1)[0]?.split('::') ?? [];
  const groups = head === '' ? [] : head.split(':');
  const missing = tail === undefined ? 0 : 8 - groups.length - (tail === '' ? 0 : tail.split(':').length);
  const all = [...groups, ...Array<string>(missing).fill('0'), ...(tail ? tail.split(':') : [])];
  return `${all
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}
