/**
 * Decides how close to the live edge a low-latency player plays. Playback begins at PART-HOLD-BACK; from then on every
 * part that arrives shows how long before its turn it came. As long as parts come early enough the player moves closer,
 * once by a small seek right after the start and then by playing slightly faster; as soon as they come late it falls
 * back. Pure: time and measurements are arguments, the caller carries out the decision.
 *
 * Times are seconds of the media timeline (`…S`) or milliseconds of a monotonic clock (`nowMs`).
 */
export class LiveEdgeControl {
  #lastSampleMs: number | undefined;
  #bufferedEndS: number | undefined;
  #arrivals = 0;
  #caughtUp = false;
  /** Wall clock minus media time below which playback would have run dry: a peak that fades. */
  #neededDelayS: number | undefined;
  /** The same for a part that comes as early as parts do. */
  #leastDelayS = Number.POSITIVE_INFINITY;
  /** How long a late part is remembered; grows with every further one. */
  #memoryS = MEMORY_MIN_S;
  /** Media time of the live edge minus wall clock: constant while the stream runs at normal speed. */
  #edgeOffsetS: number | undefined;
  #stalled = false;
  #stalledMs: number | undefined;
  #penaltyS = 0;
  #correcting = false;
  #soughtEarly = false;
  #soughtMs = Number.NEGATIVE_INFINITY;

  /** Forgets everything but what stalls have taught: for a new start after a seek of the viewer or an interruption. */
  restart(): void {
    this.#lastSampleMs = undefined;
    this.#bufferedEndS = undefined;
    this.#arrivals = 0;
    this.#caughtUp = false;
    this.#neededDelayS = undefined;
    this.#leastDelayS = Number.POSITIVE_INFINITY;
    this.#edgeOffsetS = undefined;
    this.#stalled = false;
    this.#correcting = false;
    this.#soughtEarly = false;
  }

  /** Takes a measurement, about every 100 ms and whenever media was appended, and says what to do now. */
  decide(sample: LiveEdgeSample): LiveEdgeDecision {
    const nowS = sample.nowMs / 1_000;
    const elapsedS =
      this.#lastSampleMs === undefined ? 0 : Math.max(0, (sample.nowMs - this.#lastSampleMs) / 1_000);
    this.#lastSampleMs = sample.nowMs;
    const edgeS = this.#followEdge(sample.edgeS, nowS, elapsedS);
    this.#fade(sample.nowMs, elapsedS);
    this.#observeArrival(sample, nowS);
    this.#observeStall(sample);

    const latencyS = edgeS - sample.currentTimeS;
    const targetLatencyS = this.#target(sample, nowS, latencyS);
    const distanceS = latencyS - targetLatencyS;
    const seekToS = this.#seek(sample, edgeS, targetLatencyS, distanceS);
    return {
      latencyS,
      targetLatencyS,
      playbackRate: seekToS === undefined ? this.#rate(sample, distanceS) : 1,
      ...(seekToS === undefined ? {} : { seekToS }),
    };
  }

  /** The edge without the noise of playlist loads; a jump of the edge itself is followed at once. */
  #followEdge(edgeS: number, nowS: number, elapsedS: number): number {
    const offsetS = edgeS - nowS;
    const known = this.#edgeOffsetS;
    if (known === undefined || Math.abs(offsetS - known) > EDGE_JUMP_S) this.#edgeOffsetS = offsetS;
    else this.#edgeOffsetS = known + (offsetS - known) * Math.min(1, elapsedS / EDGE_SMOOTHING_S);
    return this.#edgeOffsetS + nowS;
  }

  #fade(nowMs: number, elapsedS: number): void {
    this.#leastDelayS += LEAST_DELAY_RISE * elapsedS;
    this.#memoryS = Math.max(MEMORY_MIN_S, this.#memoryS - MEMORY_FADE * elapsedS);
    if (this.#neededDelayS !== undefined) {
      const excessS = Math.max(0, this.#neededDelayS - this.#leastDelayS);
      this.#neededDelayS -= (Math.max(FADE_MIN_S, excessS) / this.#memoryS) * elapsedS;
    }
    if (this.#stalledMs !== undefined && nowMs - this.#stalledMs > PENALTY_HOLD_MS)
      this.#penaltyS = Math.max(0, this.#penaltyS - PENALTY_FADE * elapsedS);
  }

  #observeArrival(sample: LiveEdgeSample, nowS: number): void {
    const previousEndS = this.#bufferedEndS;
    this.#bufferedEndS = sample.bufferedEndS;
    if (previousEndS === undefined || sample.bufferedEndS === previousEndS) return;
    if (sample.bufferedEndS < previousEndS) {
      // The buffer was flushed (a switch of the rendition): what follows is a backlog, not the pace of the network.
      this.#caughtUp = false;
      return;
    }
    if (!this.#caughtUp) {
      this.#caughtUp = sample.edgeS - sample.bufferedEndS < CAUGHT_UP_PARTS * sample.partTargetS;
      return;
    }
    this.#arrivals++;
    const neededS = nowS - previousEndS;
    const peakS = this.#neededDelayS ?? neededS;
    if (neededS > peakS + LATE_S) this.#memoryS = Math.min(MEMORY_MAX_S, this.#memoryS * MEMORY_GROWTH);
    this.#neededDelayS = Math.max(peakS, neededS);
    this.#leastDelayS = Math.min(this.#leastDelayS, neededS);
  }

  #observeStall(sample: LiveEdgeSample): void {
    if (sample.stalled && !this.#stalled) {
      this.#stalledMs = sample.nowMs;
      this.#penaltyS = Math.min(PENALTY_MAX_S, this.#penaltyS + Math.max(PENALTY_STEP_S, sample.partTargetS));
    }
    this.#stalled = sample.stalled;
  }

  #target(sample: LiveEdgeSample, nowS: number, latencyS: number): number {
    const { partTargetS, partHoldBackS } = sample;
    if (this.#neededDelayS === undefined || this.#arrivals < ARRIVALS_BEFORE_APPROACH)
      return partHoldBackS + this.#penaltyS;
    const delayS = nowS - sample.currentTimeS;
    const spareS = delayS - this.#neededDelayS - SAFETY_S;
    const floorS = FLOOR_S + FLOOR_PARTS * partTargetS;
    const ceilingS = Math.max(partHoldBackS, CEILING_S);
    return Math.min(Math.max(latencyS - spareS, floorS) + this.#penaltyS, ceilingS);
  }

  #seek(
    sample: LiveEdgeSample,
    edgeS: number,
    targetLatencyS: number,
    distanceS: number,
  ): number | undefined {
    if (sample.stalled || sample.nowMs - this.#soughtMs < SEEK_PAUSE_MS) return undefined;
    const aheadS = sample.bufferedEndS - sample.currentTimeS;
    if (distanceS > RESYNC_S) {
      // Far behind (the machine slept, the network was away): no sensible speed makes up for it.
      this.#soughtMs = sample.nowMs;
      this.#soughtEarly = true;
      this.#caughtUp = false;
      return edgeS - Math.max(sample.partHoldBackS, targetLatencyS);
    }
    if (this.#soughtEarly || this.#arrivals < ARRIVALS_BEFORE_APPROACH) return undefined;
    this.#soughtEarly = true;
    const stepS = Math.min(distanceS, aheadS - SAFETY_S);
    if (stepS < EARLY_SEEK_MIN_S) return undefined;
    this.#soughtMs = sample.nowMs;
    return sample.currentTimeS + stepS;
  }

  #rate(sample: LiveEdgeSample, distanceS: number): number {
    const aheadS = sample.bufferedEndS - sample.currentTimeS;
    if (aheadS < DANGER_S) return RATE_MIN;
    const size = Math.abs(distanceS);
    this.#correcting = size > (this.#correcting ? CORRECT_UNTIL_S : CORRECT_FROM_S);
    if (!this.#correcting) return 1;
    const rate = Math.min(RATE_MAX, Math.max(RATE_MIN, 1 + RATE_GAIN * distanceS));
    return Math.round(rate * 100) / 100;
  }
}

/** What a player measures for {@link LiveEdgeControl.decide}. */
export type LiveEdgeSample = {
  readonly nowMs: number;
  readonly currentTimeS: number;
  /** End of the buffered range that is being played. */
  readonly bufferedEndS: number;
  /** Where the newest part of the playlist ends, moved on by the playlist's age. */
  readonly edgeS: number;
  readonly partTargetS: number;
  readonly partHoldBackS: number;
  /** Playback should run but has nothing to play. */
  readonly stalled: boolean;
};

/** What the player is to do. */
export type LiveEdgeDecision = {
  readonly latencyS: number;
  readonly targetLatencyS: number;
  readonly playbackRate: number;
  readonly seekToS?: number;
};

/** Nearest to the edge that is ever aimed at: 0.8 s with parts of ⅓ s, 0.56 s with parts of 0.2 s. */
const FLOOR_S = 0.2;
const FLOOR_PARTS = 1.65;
/** Farthest that late parts can push the target. */
const CEILING_S = 6;
/** How long before its turn even the latest part must be in: the decoder's reach plus a little. */
const SAFETY_S = 0.15;
/** Parts that must have come at the pace of the stream before it is judged. */
const ARRIVALS_BEFORE_APPROACH = 4;
const CAUGHT_UP_PARTS = 1.5;
/** Towards the end a late part is forgotten at a steady pace, as if it were this late. */
const FADE_MIN_S = 0.3;
const LEAST_DELAY_RISE = 0.02;
/** A part this much later than all that are remembered is news. */
const LATE_S = 0.1;
/**
 * Time constant with which one late part is forgotten. Each further one makes it longer, for what comes again and again
 * must be reckoned with; without any it shrinks again.
 */
const MEMORY_MIN_S = 15;
const MEMORY_MAX_S = 240;
const MEMORY_GROWTH = 2;
const MEMORY_FADE = 0.2;
const PENALTY_STEP_S = 0.25;
const PENALTY_MAX_S = 3;
const PENALTY_HOLD_MS = 20_000;
const PENALTY_FADE = 0.02;
const EDGE_SMOOTHING_S = 1;
const EDGE_JUMP_S = 0.5;
/** Less than this ahead of the playhead and the picture is about to stop. */
const DANGER_S = 0.06;
const CORRECT_FROM_S = 0.06;
const CORRECT_UNTIL_S = 0.02;
const RATE_GAIN = 0.3;
const RATE_MIN = 0.94;
const RATE_MAX = 1.12;
const EARLY_SEEK_MIN_S = 0.2;
const RESYNC_S = 2.5;
const SEEK_PAUSE_MS = 5_000;
