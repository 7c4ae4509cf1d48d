/** The two kinds of media of a publish. */
export type Track = 'video' | 'audio';

/** What {@link Timeline.place} made of a timestamp. */
export type Placement =
  /** Media time in ms: 0 at the start of the timeline, never less than the one before of the same track. */
  | { readonly kind: 'placed'; readonly dtsMs: number; readonly clamped: boolean }
  /** Before the first frame of the timeline: nothing to place it on. */
  | { readonly kind: 'early' }
  /** No continuation of what came before: a new timeline has to begin. */
  | { readonly kind: 'jump' };

export type TimelineLimits = {
  readonly timestampJumpMs: number;
  readonly timestampBackwardMs: number;
};

const WRAP_MS = 2 ** 32;

/**
 * Turns the 32-bit timestamps of one connection into numbers that do not wrap: each is taken as the one nearest to the
 * one before. @spec RTMP 1.0 §5.3.1.1
 */
export class TimestampUnwrapper {
  #lastMs: number | undefined;

  /** @param timestampMs 0 to 2³²−1 */
  unwrap(timestampMs: number): number {
    if (this.#lastMs === undefined) {
      this.#lastMs = timestampMs;
      return timestampMs;
    }
    let delta = (((timestampMs - this.#lastMs) % WRAP_MS) + WRAP_MS) % WRAP_MS;
    if (delta >= WRAP_MS / 2) delta -= WRAP_MS;
    this.#lastMs += delta;
    return this.#lastMs;
  }
}

/**
 * A run of media without a break, placed from 0 on. Judges each timestamp by what came before it: a track may pause as
 * long as the other goes on, small steps back are evened out, and everything else is a jump.
 */
export class Timeline {
  readonly #limits: TimelineLimits;
  readonly #baseMs: number;
  readonly #lastMs: Partial<Record<Track, number>> = {};

  /** @param baseMs unwrapped timestamp of the frame that begins the timeline; it becomes 0 */
  constructor(limits: TimelineLimits, track: Track, baseMs: number) {
    this.#limits = limits;
    this.#baseMs = baseMs;
    this.#lastMs[track] = baseMs;
  }

  /** Whether a frame of the track has been placed. */
  has(track: Track): boolean {
    return this.#lastMs[track] !== undefined;
  }

  /** The largest timestamp so far, of whichever track. */
  get newestMs(): number {
    return Math.max(this.#lastMs.video ?? -Infinity, this.#lastMs.audio ?? -Infinity);
  }

  /** Where a frame with this unwrapped timestamp goes. A jump changes nothing: ask a new timeline. */
  place(track: Track, timestampMs: number): Placement {
    const lastOfTrackMs = this.#lastMs[track];
    if (timestampMs - this.newestMs > this.#limits.timestampJumpMs) return { kind: 'jump' };
    if (lastOfTrackMs === undefined) {
      const behindBaseMs = this.#baseMs - timestampMs;
      if (behindBaseMs > this.#limits.timestampJumpMs) return { kind: 'jump' };
      if (behindBaseMs > 0) return { kind: 'early' };
    } else if (lastOfTrackMs - timestampMs > this.#limits.timestampBackwardMs) {
      return { kind: 'jump' };
    }
    const placedMs = Math.max(timestampMs, lastOfTrackMs ?? timestampMs);
    this.#lastMs[track] = placedMs;
    return { kind: 'placed', dtsMs: placedMs - this.#baseMs, clamped: placedMs !== timestampMs };
  }
}
