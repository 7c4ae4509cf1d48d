import type { HealthSample } from '#steering/health/cdn-health.ts';

/** How far back the charts go, and how far apart their points are. */
export const HISTORY_MS = 15 * 60_000;
export const HISTORY_STEP_MS = 2_000;
/** Points kept per CDN. */
export const HISTORY_SAMPLES_MAX = HISTORY_MS / HISTORY_STEP_MS;

/** The last minutes of one CDN, one point per step; of several in one step the last one stays. */
export class HealthRing {
  readonly #samples: HealthSample[] = [];
  #lastStep = Number.NEGATIVE_INFINITY;

  /** @param monotonicMs decides about the step, so that a stepped wall clock cannot flood the ring */
  push(sample: HealthSample, monotonicMs: number): void {
    const step = Math.floor(monotonicMs / HISTORY_STEP_MS);
    const last = this.#samples.at(-1);
    // A change of state is worth a point of its own.
    if (step <= this.#lastStep && last?.state === sample.state) this.#samples.pop();
    this.#lastStep = Math.max(step, this.#lastStep);
    this.#samples.push(sample);
    if (this.#samples.length > HISTORY_SAMPLES_MAX) this.#samples.shift();
  }

  /** Oldest first; nothing older than {@link HISTORY_MS} before `nowMs`. */
  since(nowMs: number): readonly HealthSample[] {
    return this.#samples.filter(({ atMs }) => atMs > nowMs - HISTORY_MS);
  }
}
