const FIRST_LIMIT_MS = 800;
const PARTS_LONG = 1.6;
/** With more patience than this a limit would come after that of the load policy. */
const LIMIT_MAX_MS = 8_000;
/** As many as it takes to leave a pathway: a retry, and a lower rung. */
const TIMEOUTS_PER_STEP = 3;
const CALM_MS = 60_000;

/**
 * How long a part may take where there is another CDN to go to. A part that takes longer than it plays cannot be kept up
 * with, so a CDN that is alive but slow is left after a second or two. When the next one is as slow it is the viewer's
 * own line, and running to and fro makes that worse: the limit doubles, and comes back after a calm minute.
 */
export class PartDeadline {
  #patience = 1;
  #timeouts = 0;
  #lastTimeoutMs = Number.NEGATIVE_INFINITY;

  /** What a part of this duration may take from request to last byte, in ms. */
  limitMs(partDurationS: number, nowMs: number): number {
    if (nowMs - this.#lastTimeoutMs > CALM_MS) {
      this.#patience = 1;
      this.#timeouts = 0;
    }
    const limitMs = Math.max(FIRST_LIMIT_MS, partDurationS * PARTS_LONG * 1_000);
    return Math.min(LIMIT_MAX_MS, limitMs * this.#patience);
  }

  /** A part was not there in time. */
  timedOut(nowMs: number): void {
    this.#lastTimeoutMs = nowMs;
    this.#timeouts++;
    if (this.#timeouts % TIMEOUTS_PER_STEP === 0) this.#patience *= 2;
  }
}
