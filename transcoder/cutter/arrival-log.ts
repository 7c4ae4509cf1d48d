/** Frames remembered of each kind; at 60 fps this is over half a minute, far more than an encoder may lag. */
const ENTRIES_MAX = 2048;

type Entry = { readonly mediaMs: number; readonly arrivalUtcMs: number };

/**
 * When the frames of the broadcaster reached the ingest, by their place on the media timeline. Answers for a part that
 * comes out of the encoder when its last frame came in.
 */
export class ArrivalLog {
  readonly #entries: Record<'video' | 'audio', Entry[]> = { video: [], audio: [] };
  #latestMs: Record<'video' | 'audio', number | undefined> = { video: undefined, audio: undefined };

  /** Remembers a frame. `mediaMs` is its presentation time, relative to media time 0. */
  add(kind: 'video' | 'audio', mediaMs: number, arrivalUtcMs: number): void {
    const entries = this.#entries[kind];
    entries.push({ mediaMs, arrivalUtcMs });
    // Dropping half at a time keeps this cheap.
    if (entries.length > ENTRIES_MAX) entries.splice(0, ENTRIES_MAX / 2);
    this.#latestMs[kind] = Math.max(this.#latestMs[kind] ?? mediaMs, mediaMs);
  }

  /** The furthest media time that has come in. */
  latestMs(kind: 'video' | 'audio'): number | undefined {
    return this.#latestMs[kind];
  }

  /**
   * Arrival of the last frame that begins before `endMs`. Half a frame of rounding on the grid is allowed for by the
   * caller. Undefined when nothing that old is remembered.
   */
  lastBefore(kind: 'video' | 'audio', endMs: number): number | undefined {
    const entries = this.#entries[kind];
    let found: Entry | undefined;
    // Presentation times run backwards by some frames where B-frames are; the newest entries come last.
    for (let index = entries.length - 1, beyond = 0; index >= 0 && beyond < 16; index--) {
      const entry = entries[index] as Entry;
      if (entry.mediaMs >= endMs) continue;
      beyond += 1;
      if (found === undefined || entry.mediaMs > found.mediaMs) found = entry;
    }
    return found?.arrivalUtcMs;
  }
}
