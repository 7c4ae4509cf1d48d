import type { Clock } from '#runtime/clock.ts';
import type { Client, HeldRequests } from '#origin/live/held-requests.ts';
import { RequestWaiters, StreamHolds } from '#origin/live/request-waiters.ts';

type Outcome<Value> = { readonly value: Value } | { readonly error: Error };
type Pull<Value> = {
  readonly waiters: RequestWaiters<Outcome<Value>>;
  readonly abort: AbortController;
  count: number;
};

/**
 * One pull for all who want the same thing at the same time. Each waiter has its own deadline and may leave; the pull is
 * given up when the last one has left. Answers to thousands go out in the slices of {@link HeldRequests}.
 */
export class SharedPulls<Value> {
  readonly #holds: HeldRequests;
  readonly #clock: Clock;
  readonly #waitersMax: number;
  readonly #pulls = new Map<string, Pull<Value>>();

  constructor(settings: { readonly waitersMax: number }, deps: { holds: HeldRequests; clock: Clock }) {
    this.#waitersMax = settings.waitersMax;
    this.#holds = deps.holds;
    this.#clock = deps.clock;
  }

  /** Things that are being pulled. */
  get size(): number {
    return this.#pulls.size;
  }

  /**
   * Waits for the thing named `key`, pulling it unless that is under way.
   *
   * @param pull must reject when its signal is aborted
   * @throws what the pull throws; {@link ProblemError} 503 after `holdMs` or when no more requests can be held;
   *   {@link ClientGoneError}
   */
  async join(
    key: string,
    pull: (signal: AbortSignal) => Promise<Value>,
    hold: { readonly holdMs: number; readonly client: Client },
  ): Promise<Value> {
    const shared = this.#pulls.get(key) ?? this.#begin(key, pull);
    shared.count += 1;
    try {
      const deadlineMs = this.#clock.monotonicMs() + hold.holdMs;
      const outcome = await shared.waiters.wait('pulled', () => true, { deadlineMs, client: hold.client });
      if ('error' in outcome) throw outcome.error;
      return outcome.value;
    } finally {
      shared.count -= 1;
      if (shared.count === 0) this.#end(key, shared);
    }
  }

  #begin(key: string, pull: (signal: AbortSignal) => Promise<Value>): Pull<Value> {
    const shared: Pull<Value> = {
      waiters: new RequestWaiters(new StreamHolds(this.#holds, this.#waitersMax)),
      abort: new AbortController(),
      count: 0,
    };
    this.#pulls.set(key, shared);
    const settle = (outcome: Outcome<Value>): void => {
      // Whoever comes from now on wants a newer one.
      if (this.#pulls.get(key) === shared) this.#pulls.delete(key);
      shared.waiters.publish(outcome);
    };
    pull(shared.abort.signal).then(
      (value) => settle({ value }),
      (error: unknown) => settle({ error: error instanceof Error ? error : new Error(String(error)) }),
    );
    return shared;
  }

  #end(key: string, shared: Pull<Value>): void {
    if (this.#pulls.get(key) === shared) this.#pulls.delete(key);
    shared.abort.abort();
  }
}
