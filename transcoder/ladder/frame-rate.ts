import type { FrameRate } from '#protocol/ingest/publish-session.ts';

/** Rates that cameras and encoders use, lowest first. */
export const KNOWN_FRAME_RATES: readonly FrameRate[] = [
  { numerator: 10, denominator: 1 },
  { numerator: 12, denominator: 1 },
  { numerator: 15, denominator: 1 },
  { numerator: 20, denominator: 1 },
  { numerator: 24_000, denominator: 1001 },
  { numerator: 24, denominator: 1 },
  { numerator: 25, denominator: 1 },
  { numerator: 30_000, denominator: 1001 },
  { numerator: 30, denominator: 1 },
  { numerator: 48, denominator: 1 },
  { numerator: 50, denominator: 1 },
  { numerator: 60_000, denominator: 1001 },
  { numerator: 60, denominator: 1 },
];

/** Highest and lowest rate that is encoded; faster sources lose frames, slower ones show frames more than once. */
export const FRAME_RATE_MAX = 60;
export const FRAME_RATE_MIN = 10;

/** Frames that a measurement needs before it is believed. */
export const MEASURED_FRAMES_MIN = 8;

/** Claims outside of this are not frame rates: encoders of variable rate write 1000 or 90000. */
const CLAIM = { min: 1, max: 240 } as const;
/** A claim that differs more than this from the measurement is not believed. */
const CLAIM_TOLERANCE = 0.1;

/** What is known about the frame rate of a source. */
export type FrameRateClues = {
  /** From the sequence parameter set. */
  readonly vui?: FrameRate | undefined;
  /** From onMetaData. */
  readonly metadata?: number | undefined;
  /** Presentation times of the first frames, in any order. */
  readonly presentationTimesMs: readonly number[];
};

/** Frames per second as a number. */
export function fpsOf(rate: FrameRate): number {
  return rate.numerator / rate.denominator;
}

/** Whether one of the clues names a rate, so that nothing need be measured. */
export function isRateClaimed(clues: Pick<FrameRateClues, 'vui' | 'metadata'>): boolean {
  return claimed(clues) !== undefined;
}

/**
 * The exact rate to encode at, or undefined while nothing is claimed and too few frames have come to measure. A claim is
 * overruled by a measurement that contradicts it.
 */
export function chooseFrameRate(clues: FrameRateClues): FrameRate | undefined {
  const claim = claimed(clues);
  const measured = measureFps(clues.presentationTimesMs);
  if (claim !== undefined && (measured === undefined || Math.abs(claim / measured - 1) <= CLAIM_TOLERANCE))
    return toExact(withinLimits(claim));
  if (measured === undefined) return undefined;
  // Millisecond timestamps over a few frames cannot tell 29.97 from 30; the whole number is the better guess.
  return nearestKnown(withinLimits(measured), (rate) => rate.denominator === 1);
}

/** Ticks per second and per frame such that every frame begins on a whole tick. */
export function videoTimescale(rate: FrameRate): { timescale: number; frameTicks: number } {
  const scale = rate.numerator >= 10_000 ? 1 : 1000;
  return { timescale: rate.numerator * scale, frameTicks: rate.denominator * scale };
}

function claimed(clues: Pick<FrameRateClues, 'vui' | 'metadata'>): number | undefined {
  const { vui, metadata } = clues;
  if (vui !== undefined && isPlausible(fpsOf(vui))) return fpsOf(vui);
  return metadata !== undefined && isPlausible(metadata) ? metadata : undefined;
}

function isPlausible(fps: number): boolean {
  return Number.isFinite(fps) && fps >= CLAIM.min && fps <= CLAIM.max;
}

/** A whole number stands as it is; 29.97 and its like become the fraction that they mean. */
function toExact(fps: number): FrameRate {
  if (Math.abs(fps - Math.round(fps)) < 0.004) return { numerator: Math.round(fps), denominator: 1 };
  for (const nominal of [24, 30, 48, 60, 120]) {
    const exact = { numerator: nominal * 1000, denominator: 1001 };
    if (Math.abs(fpsOf(exact) - fps) < 0.015) return exact;
  }
  return nearestKnown(fps, () => true);
}

/** Frames per second from presentation times; undefined when there are too few or they stand still. */
export function measureFps(presentationTimesMs: readonly number[]): number | undefined {
  if (presentationTimesMs.length < MEASURED_FRAMES_MIN) return undefined;
  const sorted = [...presentationTimesMs].sort((a, b) => a - b);
  const intervals = sorted.slice(1).map((time, index) => time - (sorted[index] ?? 0));
  // The median interval finds the cadence, the mean of those like it gets rid of the rounding to milliseconds.
  const median = [...intervals].sort((a, b) => a - b)[intervals.length >> 1] ?? 0;
  if (median <= 0) return undefined;
  const regular = intervals.filter((interval) => Math.abs(interval - median) <= Math.max(1, median / 4));
  return 1000 / (regular.reduce((sum, interval) => sum + interval, 0) / regular.length);
}

function nearestKnown(fps: number, accept: (rate: FrameRate) => boolean): FrameRate {
  const distance = (rate: FrameRate): number => Math.abs(Math.log(fpsOf(rate) / fps));
  const candidates = KNOWN_FRAME_RATES.filter(accept);
  return candidates.reduce((best, rate) => (distance(rate) < distance(best) ? rate : best));
}

/** Halves what is too fast for the limit, unless that gives a rate nobody knows; multiplies what is too slow. */
function withinLimits(fps: number): number {
  if (fps > FRAME_RATE_MAX + 0.1) {
    const isKnown = KNOWN_FRAME_RATES.some((known) => Math.abs(fpsOf(known) * 2 - fps) < 0.1);
    return isKnown ? fps / 2 : FRAME_RATE_MAX;
  }
  return fps >= FRAME_RATE_MIN - 0.1 ? fps : fps * Math.ceil(FRAME_RATE_MIN / fps);
}
