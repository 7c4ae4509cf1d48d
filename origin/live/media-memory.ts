import type { LiveMetrics } from '#origin/live/live-metrics.ts';

/** Counts the media bytes of all streams against one limit. */
export class MediaMemory {
  readonly #maxBytes: number;
  readonly #metrics: LiveMetrics;
  #usedBytes = 0;

  constructor(maxBytes: number, metrics: LiveMetrics) {
    this.#maxBytes = maxBytes;
    this.#metrics = metrics;
  }

  hasRoom(bytes: number): boolean {
    return this.#usedBytes + bytes <= this.#maxBytes;
  }

  /** Takes up bytes, or gives them back when negative. */
  add(bytes: number): void {
    this.#usedBytes += bytes;
    this.#metrics.windowBytes.set(this.#usedBytes);
  }
}
