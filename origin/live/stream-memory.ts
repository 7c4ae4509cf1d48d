import { ProblemError } from '#runtime/http/problem.ts';
import type { LiveMetrics } from '#origin/live/live-metrics.ts';
import type { MediaMemory } from '#origin/live/media-memory.ts';

/** Where a stream finds room. Each way returns the bytes that it has freed. */
export type StreamMemoryDeps = {
  readonly all: MediaMemory;
  readonly metrics: LiveMetrics;
  /** Gives up another, ended stream; false when there is none. */
  readonly freeEnded: () => boolean;
  readonly dropExpired: () => number;
  /** Gives up what has been listed longest; undefined when all of it is needed. */
  readonly dropOldest: () => number | undefined;
};

/** The media bytes of one stream, counted against its own limit and that of all streams. */
export class StreamMemory {
  readonly #maxBytes: number;
  readonly #deps: StreamMemoryDeps;
  #bytes = 0;

  constructor(maxBytes: number, deps: StreamMemoryDeps) {
    this.#maxBytes = maxBytes;
    this.#deps = deps;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes up bytes, or gives them back when negative. */
  add(bytes: number): void {
    this.#bytes += bytes;
    this.#deps.all.add(bytes);
  }

  /** @throws {ProblemError} 503 `live_window_full` when even the shortest playlists leave no room */
  makeRoom(bytes: number): void {
    const { all, metrics, freeEnded, dropExpired, dropOldest } = this.#deps;
    this.add(-dropExpired());
    const isFull = (): boolean => this.#bytes + bytes > this.#maxBytes;
    while (isFull() || !all.hasRoom(bytes)) {
      if (!isFull() && freeEnded()) continue;
      const freedBytes = dropOldest();
      if (freedBytes === undefined)
        throw new ProblemError(503, 'live_window_full', 'There is no memory for this part.', {
          headers: { 'retry-after': '1' },
        });
      this.add(-freedBytes);
      metrics.earlyEvictions.inc();
    }
  }
}
