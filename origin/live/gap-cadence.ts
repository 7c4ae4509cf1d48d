import type { Clock, Timer } from '#runtime/clock.ts';

/**
 * Counts the parts that would have come since the last one, had the broadcaster stayed: one per cell of the grid, in
 * real time, without drift. Players that wait for the next part are so answered with a gap at the usual pace.
 * @spec rfc8216bis §6.2.1 (a new part within one Part Target Duration)
 */
export class GapCadence {
  readonly #clock: Clock;
  readonly #cellMs: number;
  readonly #lastPartMs: number;
  readonly #onDue: (cells: number) => void;
  #timer: Timer | undefined;

  /**
   * @param lastPartMs monotonic time at which the last part was listed
   * @param onDue is told how many cells are due in all; called at once and then once per cell
   */
  constructor(clock: Clock, cellMs: number, lastPartMs: number, onDue: (cells: number) => void) {
    this.#clock = clock;
    this.#cellMs = cellMs;
    this.#lastPartMs = lastPartMs;
    this.#onDue = onDue;
    this.#tick();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #tick(): void {
    const elapsedMs = this.#clock.monotonicMs() - this.#lastPartMs;
    // A timer may fire a fraction of a millisecond early; the cell is due all the same.
    const due = Math.floor((elapsedMs + 1) / this.#cellMs);
    this.#timer = this.#clock.after(Math.max(1, (due + 1) * this.#cellMs - elapsedMs), () => this.#tick());
    if (due > 0) this.#onDue(due);
  }
}
