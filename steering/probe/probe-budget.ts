import type { Clock } from '#runtime/clock.ts';

/** A budget of probes per second that cannot be saved up for more than one second. */
export class ProbeBudget {
  readonly #perSecond: number;
  readonly #clock: Clock;
  #tokens: number;
  #filledMs: number;

  constructor(perSecond: number, clock: Clock) {
    this.#perSecond = perSecond;
    this.#clock = clock;
    this.#tokens = perSecond;
    this.#filledMs = clock.monotonicMs();
  }

  /** Takes up to `wanted` probes out of the budget; returns how many there were. */
  take(wanted: number): number {
    const nowMs = this.#clock.monotonicMs();
    const earned = ((nowMs - this.#filledMs) / 1_000) * this.#perSecond;
    this.#tokens = Math.min(this.#perSecond, this.#tokens + Math.max(0, earned));
    this.#filledMs = nowMs;
    const granted = Math.min(wanted, Math.floor(this.#tokens));
    this.#tokens -= granted;
    return granted;
  }
}
