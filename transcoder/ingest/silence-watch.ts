import type { Clock, Timer } from '#runtime/clock.ts';

/** After a stall of this process a timer fires before the bytes that came meanwhile are read: look again after them. */
const SECOND_LOOK_MS = 20;

/** Calls back once when nothing has been heard for so long. Hearing something costs no timer. */
export class SilenceWatch {
  readonly #clock: Clock;
  readonly #limitMs: number;
  readonly #onSilent: () => void;
  #heardMs: number;
  #timer: Timer;

  /** Begins to wait. */
  constructor(clock: Clock, limitMs: number, onSilent: () => void) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#onSilent = onSilent;
    this.#heardMs = clock.monotonicMs();
    this.#timer = clock.after(limitMs, () => this.#look(false));
  }

  /** When something was heard last, on the clock's monotonic time; at first, when the watch began. */
  get heardMs(): number {
    return this.#heardMs;
  }

  /** Notes that something was heard. */
  heard(): void {
    this.#heardMs = this.#clock.monotonicMs();
  }

  /** Ends the watch. */
  stop(): void {
    this.#timer.cancel();
  }

  #look(isSecondLook: boolean): void {
    const leftMs = this.#heardMs + this.#limitMs - this.#clock.monotonicMs();
    if (leftMs > 0) this.#timer = this.#clock.after(leftMs, () => this.#look(false));
    else if (isSecondLook) this.#onSilent();
    else this.#timer = this.#clock.after(SECOND_LOOK_MS, () => this.#look(true));
  }
}
