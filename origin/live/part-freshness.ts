import type { Clock, Timer } from '#runtime/clock.ts';
import { ProblemError } from '#runtime/http/problem.ts';

/** Parts in a row after which a playlist that was stale is shown again. */
export const FRESH_AFTER_PARTS = 3;
/** A playlist is stale when so many parts, and no less than a target duration, have not come. */
const STALE_PART_TARGETS = 4;

export type PartFreshnessContext = {
  readonly clock: Clock;
  readonly partTargetMs: number;
  readonly targetDurationMs: number;
  /** The playlist has become stale, or is fresh again. */
  onChange(isStale: boolean): void;
  /** Called again and again while the playlist is stale. */
  onStale(): void;
};

/**
 * Watches whether the parts of a stream that is being published reach this origin. When they do not, players are better
 * off elsewhere, and learn of it in an instant when they are told so; a playlist that stands still costs them many
 * seconds.
 */
export class PartFreshness {
  readonly #context: PartFreshnessContext;
  readonly #limitMs: number;
  #lastPartMs = 0;
  #partsInARow = 0;
  #isStale = false;
  #timer: Timer | undefined;

  constructor(context: PartFreshnessContext) {
    this.#context = context;
    this.#limitMs = Math.max(STALE_PART_TARGETS * context.partTargetMs, context.targetDurationMs);
  }

  get isStale(): boolean {
    return this.#isStale;
  }

  /** Since when there is no new part, ms. */
  get ageMs(): number {
    return this.#context.clock.monotonicMs() - this.#lastPartMs;
  }

  /** Parts are to be expected from now on. */
  watch(): void {
    this.#lastPartMs = this.#context.clock.monotonicMs();
    this.#partsInARow = 0;
    this.#timer ??= this.#check();
  }

  /** No parts are to be expected, and nobody is to be sent away for it. */
  rest(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#set(false);
  }

  /** A part with media has been listed, further on than any before. */
  notePart(): void {
    this.#partsInARow = this.#isOverdue ? 1 : this.#partsInARow + 1;
    this.#lastPartMs = this.#context.clock.monotonicMs();
    if (this.#isStale && this.#partsInARow >= FRESH_AFTER_PARTS) this.#set(false);
  }

  get #isOverdue(): boolean {
    // A timer may fire a fraction of a millisecond early; the limit is reached all the same.
    return this.ageMs + 1 >= this.#limitMs;
  }

  /** Looks after the rest of the limit, and while it is stale once per part. */
  #check(): Timer {
    const waitMs = this.#isStale ? this.#context.partTargetMs : this.#limitMs - this.ageMs;
    return this.#context.clock.after(Math.max(1, waitMs), () => {
      this.#timer = undefined;
      if (this.#isOverdue) this.#set(true);
      if (this.#isStale) this.#context.onStale();
      this.#timer ??= this.#check();
    });
  }

  #set(isStale: boolean): void {
    if (isStale === this.#isStale) return;
    this.#isStale = isStale;
    this.#context.onChange(isStale);
  }
}

/** 404 for what would have to be held, or would stand still, while the stream goes on elsewhere. */
export function streamStale(ageMs: number): ProblemError {
  return new ProblemError(404, 'stream_stale', 'The stream goes on, but not here; ask another origin.', {
    headers: { 'cache-control': 'public, max-age=1', ...lastPartAge(ageMs) },
  });
}

/** How long ago the newest part came, in seconds: what probes and caches look at. */
export function lastPartAge(ageMs: number): Record<string, string> {
  return { 'x-last-part-age': (Math.max(0, ageMs) / 1000).toFixed(3) };
}
