import type { Clock, Timer } from '#runtime/clock.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { LiveMetrics } from '#origin/live/live-metrics.ts';
import type { LiveSettings } from '#origin/live/live-settings.ts';

/**
 * Whoever waits for an answer. A `Request` is one; its signal is made when it is first looked at, so look late, and not
 * at all where {@link whenGone} will do.
 */
export type Client = {
  readonly signal: AbortSignal;
  /** Calls `gone` once when the client goes away; the answer stops that. Undefined when it has gone already. */
  readonly onGone?: (gone: () => void) => (() => void) | undefined;
  /** Where it comes from, as far as that is known. */
  readonly address?: string | undefined;
};

/**
 * Calls `gone` once when the client goes away.
 *
 * @returns what stops that, or undefined when the client has gone already
 */
export function whenGone(client: Client, gone: () => void): (() => void) | undefined {
  if (client.onGone !== undefined) return client.onGone(gone);
  const { signal } = client;
  if (signal.aborted) return undefined;
  signal.addEventListener('abort', gone, { once: true });
  return () => signal.removeEventListener('abort', gone);
}

/** How long a request may be held, and how it says that its client has gone. */
export type Hold = {
  /** Monotonic time of the clock. */
  readonly deadlineMs: number;
  readonly client: Client;
};

/** The client went away while its request was held; nobody reads the answer. */
export class ClientGoneError extends ProblemError {
  constructor() {
    super(499, 'client_gone', 'The client closed the request.');
  }
}

/** How often expired requests are looked for. One timer serves all of them. */
const SWEEP_MS = 250;

/** One request that waits for `State` to come about. */
export class HeldRequest<State> {
  readonly deadlineMs: number;
  readonly address: string | undefined;
  readonly #resolve: (state: State) => void;
  readonly #reject: (error: Error) => void;
  readonly #onSettled: (held: HeldRequest<State>) => void;
  #settled = false;

  constructor(
    { deadlineMs, client }: Hold,
    resolve: (state: State) => void,
    reject: (error: Error) => void,
    onSettled: (held: HeldRequest<State>) => void,
  ) {
    this.deadlineMs = deadlineMs;
    this.address = client.address;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#onSettled = onSettled;
  }

  /** Returns whether the request was still waiting. */
  fulfil(state: State): boolean {
    if (!this.#settle()) return false;
    this.#resolve(state);
    return true;
  }

  /** Returns whether the request was still waiting. */
  fail(error: Error): boolean {
    if (!this.#settle()) return false;
    this.#reject(error);
    return true;
  }

  #settle(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    this.#onSettled(this);
    return true;
  }
}

/** A held request, whatever it waits for. */
export type Held = {
  readonly deadlineMs: number;
  readonly address: string | undefined;
  fail(error: Error): boolean;
};

export type HeldRequestLimits = Pick<LiveSettings, 'waitersMax' | 'addressWaitersMax' | 'releaseSliceSize'>;

/**
 * All held requests of the process: counts them against the limit, ends the expired, and answers thousands in slices so
 * that other requests get their turn in between.
 */
export class HeldRequests {
  readonly metrics: LiveMetrics;
  readonly #limits: HeldRequestLimits;
  readonly #clock: Clock;
  readonly #held = new Set<Held>();
  readonly #byAddress = new Map<string, number>();
  readonly #releases: (() => void)[] = [];
  #releasing = false;
  #sweep: Timer | undefined;
  #closed: ProblemError | undefined;

  constructor(limits: HeldRequestLimits, deps: { clock: Clock; metrics: LiveMetrics }) {
    this.#limits = limits;
    this.#clock = deps.clock;
    this.metrics = deps.metrics;
  }

  get count(): number {
    return this.#held.size;
  }

  /**
   * @throws {ProblemError} 503 `waiters_exhausted` or `address_waiters_exhausted` when one more would be too many, or what
   *   {@link close} was given
   */
  assertRoom({ address }: Client): void {
    if (this.#closed !== undefined) throw this.#closed;
    const { waitersMax, addressWaitersMax } = this.#limits;
    if (this.#held.size >= waitersMax) throw noRoom('waiters_exhausted', this.metrics);
    if (address !== undefined && (this.#byAddress.get(address) ?? 0) >= addressWaitersMax)
      throw noRoom('address_waiters_exhausted', this.metrics);
  }

  add(held: Held): void {
    this.#held.add(held);
    this.#countAddress(held.address, 1);
    this.metrics.waiters.inc();
    this.#sweep ??= this.#clock.after(SWEEP_MS, () => this.#failExpired());
  }

  delete(held: Held): void {
    if (!this.#held.delete(held)) return;
    this.#countAddress(held.address, -1);
    this.metrics.waiters.dec();
    if (this.#held.size > 0) return;
    this.#sweep?.cancel();
    this.#sweep = undefined;
  }

  /** Runs the releases: a slice at once, the others one per turn of the event loop. */
  release(releases: Iterable<() => void>): void {
    for (const release of releases) this.#releases.push(release);
    if (!this.#releasing) this.#releaseSlice();
  }

  /** Answers everything that is held, and everything that would be from now on, with the error. */
  close(error: ProblemError): void {
    this.#closed = error;
    for (const held of this.#held) {
      this.metrics.waits.inc({ outcome: 'closed' });
      held.fail(error);
    }
  }

  #countAddress(address: string | undefined, change: number): void {
    if (address === undefined) return;
    const count = (this.#byAddress.get(address) ?? 0) + change;
    if (count === 0) this.#byAddress.delete(address);
    else this.#byAddress.set(address, count);
  }

  #releaseSlice(): void {
    for (const release of this.#releases.splice(0, this.#limits.releaseSliceSize)) release();
    this.#releasing = this.#releases.length > 0;
    if (this.#releasing) setImmediate(() => this.#releaseSlice());
  }

  #failExpired(): void {
    this.#sweep = undefined;
    const nowMs = this.#clock.monotonicMs();
    for (const held of this.#held) {
      if (held.deadlineMs > nowMs) continue;
      this.metrics.waits.inc({ outcome: 'expired' });
      held.fail(
        new ProblemError(503, 'hold_expired', 'What was asked for did not come in time; try again.', {
          headers: { 'retry-after': '1' },
        }),
      );
    }
    if (this.#held.size > 0) this.#sweep = this.#clock.after(SWEEP_MS, () => this.#failExpired());
  }
}

/** 503 for a request that would have to be held where no more can be. */
export function noRoom(
  code: 'waiters_exhausted' | 'stream_waiters_exhausted' | 'address_waiters_exhausted',
  metrics: LiveMetrics,
): ProblemError {
  metrics.waits.inc({ outcome: 'refused' });
  return new ProblemError(503, code, 'Too many requests are being held; try again.', {
    headers: { 'retry-after': '1' },
  });
}
