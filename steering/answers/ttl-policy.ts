import { Gauge } from 'prom-client';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { Metrics } from '#runtime/metrics.ts';

export type TtlSettings = {
  /** Mean TTL while all is well, and while an event is open. */
  readonly steadyMeanS: number;
  readonly eventMeanS: number;
};

export type TtlPolicyDeps = {
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** Busy share of the event loop since it was last asked, 0…1. */
  readonly utilization: () => number;
};

const CHECK_INTERVAL_MS = 1_000;
/** A node this busy asks for more patience; steps apart enough not to swing between them. */
const STEPS = [
  { above: 0.95, factor: 4 },
  { above: 0.85, factor: 2 },
] as const;
const RELIEVED_BELOW = 0.6;

/**
 * The mean TTLs of this node. An overloaded steering server may not refuse (429 and 503 end steering in several players),
 * so it lets players come back later instead, until it has found its feet.
 */
export class TtlPolicy {
  readonly #settings: TtlSettings;
  readonly #deps: TtlPolicyDeps;
  readonly #gauge: Gauge;
  #factor = 1;
  #timer: Timer | undefined;

  constructor(settings: TtlSettings, deps: TtlPolicyDeps) {
    this.#settings = settings;
    this.#deps = deps;
    this.#gauge = new Gauge({
      name: 'steering_ttl_overload_factor',
      help: 'By how much TTLs are longer than asked for because this node is overloaded; 1 is normal.',
      registers: [deps.metrics],
    });
    this.#gauge.set(1);
  }

  /** Begins to watch the load of this node. */
  start(): void {
    this.#timer = this.#deps.clock.after(CHECK_INTERVAL_MS, () => {
      this.#check(this.#deps.utilization());
      this.start();
    });
  }

  close(): void {
    this.#timer?.cancel();
  }

  meanS(rhythm: 'steady' | 'event'): number {
    return (rhythm === 'steady' ? this.#settings.steadyMeanS : this.#settings.eventMeanS) * this.#factor;
  }

  #check(utilization: number): void {
    const step = STEPS.find(({ above }) => utilization > above);
    if (step !== undefined) this.#factor = Math.max(this.#factor, step.factor);
    else if (utilization < RELIEVED_BELOW) this.#factor = Math.max(1, this.#factor / 2);
    this.#gauge.set(this.#factor);
  }
}
