import type { Clock, Timer } from '#runtime/clock.ts';

const TICK_MS = 100;
/** A timer that is this late means that we stood still, and that our deadlines say nothing about anybody else. */
export const STALL_MS = 500;

/** Notices when this process itself stood still: a blocked event loop, a stopped process. */
export class StallWatch {
  readonly #clock: Clock;
  #timer: Timer | undefined;
  #stalledAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#tick();
  }

  /** Whether we stood still at any moment since then (monotonic ms). */
  stalledSince(sinceMs: number): boolean {
    return this.#stalledAtMs >= sinceMs;
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #tick(): void {
    const dueMs = this.#clock.monotonicMs() + TICK_MS;
    this.#timer = this.#clock.after(TICK_MS, () => {
      const nowMs = this.#clock.monotonicMs();
      if (nowMs - dueMs >= STALL_MS) this.#stalledAtMs = nowMs;
      this.#tick();
    });
  }
}
