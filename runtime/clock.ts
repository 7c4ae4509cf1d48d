/**
 * Time as a dependency. Services take a {@link Clock} so that tests can drive time by hand; only `runtime/` and
 * `main.ts` files touch the real one.
 */
export type Clock = {
  /** Wall-clock time, milliseconds since the Unix epoch. May step; never use it to measure a duration. */
  nowMs(): number;
  /** Monotonic time in fractional milliseconds from an arbitrary origin. Never steps back. */
  monotonicMs(): number;
  /** Runs `callback` once, `delayMs` from now, unless cancelled first. Does not keep the process alive. */
  after(delayMs: number, callback: () => void): Timer;
};

/** A pending callback of {@link Clock.after}. */
export type Timer = {
  /** Forgets the callback; harmless when it has already run. */
  cancel(): void;
};

/** The real clock of this process. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after: (delayMs, callback) => {
    const handle = setTimeout(callback, delayMs);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
};

/** A clock that stands still until {@link FakeClock.advance} is called. For tests. */
export class FakeClock implements Clock {
  #wallMs: number;
  #monotonicMs = 0;
  #order = 0;
  readonly #pending = new Map<number, { dueMs: number; callback: () => void }>();

  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#wallMs = startMs;
  }

  nowMs(): number {
    return this.#wallMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    const id = this.#order++;
    this.#pending.set(id, { dueMs: this.#monotonicMs + Math.max(0, delayMs), callback });
    return { cancel: () => void this.#pending.delete(id) };
  }

  /** Number of callbacks that have not run and were not cancelled. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  /** Steps the wall clock without letting monotonic time pass, as an NTP step or an operator would. */
  stepWallClock(byMs: number): void {
    this.#wallMs += byMs;
  }

  /** Lets `byMs` pass, running every callback that falls due, in order of its due time. */
  advance(byMs: number): void {
    const endMs = this.#monotonicMs + byMs;
    for (;;) {
      let next: [number, { dueMs: number; callback: () => void }] | undefined;
      for (const entry of this.#pending) {
        if (entry[1].dueMs <= endMs && (next === undefined || entry[1].dueMs < next[1].dueMs)) next = entry;
      }
      if (next === undefined) break;
      this.#pending.delete(next[0]);
      this.#wallMs += next[1].dueMs - this.#monotonicMs;
      this.#monotonicMs = next[1].dueMs;
      next[1].callback();
    }
    this.#wallMs += endMs - this.#monotonicMs;
    this.#monotonicMs = endMs;
  }
}
