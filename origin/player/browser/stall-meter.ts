/** What {@link StallMeter.observe} looks at. */
export type StallSample = {
  readonly nowMs: number;
  /** The viewer wants it to play: started once, not paused, not seeking, not at the end. */
  readonly wanted: boolean;
  /** The element says that it has data to go on (`readyState` of HAVE_FUTURE_DATA or more). */
  readonly ready: boolean;
  readonly currentTimeS: number;
};

/** A picture that stands still this long though data is there counts as a stall, too. */
const FROZEN_MS = 400;
/** After a seek or a pause the element needs a moment; that is not a stall. */
const SETTLE_MS = 400;

/**
 * Counts the times playback stopped against the viewer's will, and for how long. Fed with samples, not with `waiting`
 * events alone: elements also stop without one, and fire one for every seek.
 */
export class StallMeter {
  #count = 0;
  #totalMs = 0;
  #sinceMs: number | undefined;
  #settleUntilMs = 0;
  #lastTimeS: number | undefined;
  #advancedMs = 0;
  #lastMs = 0;

  /** Stalls so far, the one under way included. */
  get count(): number {
    return this.#count;
  }

  /** Time stood still so far, in ms. */
  get totalMs(): number {
    return this.#totalMs + (this.#sinceMs === undefined ? 0 : this.#lastMs - this.#sinceMs);
  }

  /** For how long it has been standing still now, 0 when it plays. */
  get currentMs(): number {
    return this.#sinceMs === undefined ? 0 : this.#lastMs - this.#sinceMs;
  }

  /** Says whether playback is stalled now. */
  observe(sample: StallSample): boolean {
    const { nowMs } = sample;
    this.#lastMs = nowMs;
    if (!sample.wanted) {
      this.#settleUntilMs = nowMs + SETTLE_MS;
      this.#advancedMs = nowMs;
      this.#lastTimeS = sample.currentTimeS;
      // A seek in the middle of a stall is the way out of it: the stall lasts until the picture moves again.
      return this.#sinceMs !== undefined;
    }
    const moved = sample.currentTimeS !== this.#lastTimeS;
    if (moved) {
      this.#lastTimeS = sample.currentTimeS;
      this.#advancedMs = nowMs;
    }
    if (this.#sinceMs !== undefined) {
      if (moved && sample.ready) this.#end(nowMs);
    } else if (nowMs >= this.#settleUntilMs) {
      const frozen = nowMs - this.#advancedMs > FROZEN_MS;
      if (!sample.ready || frozen) {
        this.#count++;
        this.#sinceMs = frozen ? this.#advancedMs : nowMs;
      }
    }
    return this.#sinceMs !== undefined;
  }

  /** Ends a stall without judging it: the viewer paused or another stream was chosen. */
  settle(nowMs: number): void {
    this.#lastMs = nowMs;
    if (this.#sinceMs !== undefined) this.#end(nowMs);
    this.#settleUntilMs = nowMs + SETTLE_MS;
    this.#advancedMs = nowMs;
  }

  #end(nowMs: number): void {
    this.#totalMs += nowMs - (this.#sinceMs ?? nowMs);
    this.#sinceMs = undefined;
  }
}
