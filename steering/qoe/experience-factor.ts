import type { CohortSummary } from '#steering/qoe/cohort.ts';

/** Fewest voices that may say anything about a CDN. */
export const VOICES_MIN = 30;
/** What viewers say moves a CDN no lower than this: alone it never takes one out. */
export const EXPERIENCE_MIN = 0.3;
/** How well viewers fare where nothing else is known to compare with. */
const EXPECTED_MEAN = 0.9;
/** Differences within this and the noise of the sample mean nothing. */
const TOLERANCE = 0.05;
/** Standard errors that count as noise. */
const NOISE = 1.64;
/** How much each point of difference beyond that costs. */
const SLOPE = 2;
/** The smallest change worth moving viewers for. */
const STEP_MIN = 0.1;

/**
 * What a cohort's experience makes of a CDN's weight, compared with the other CDNs for viewers in the same place, so that
 * a bad network or a bad evening is not held against one CDN. Pure.
 *
 * One voice of n moves the result by less than {@link SLOPE} / n plus what it changes of the noise.
 *
 * @returns 1 when there are fewer than {@link VOICES_MIN} voices, else {@link EXPERIENCE_MIN} … 1
 */
export function experienceFactor(own: CohortSummary, others: readonly CohortSummary[]): number {
  if (own.voices < VOICES_MIN) return 1;
  const comparable = others.filter(({ voices }) => voices >= VOICES_MIN);
  const voices = comparable.reduce((sum, other) => sum + other.voices, 0);
  const expected =
    voices === 0
      ? EXPECTED_MEAN
      : comparable.reduce((sum, other) => sum + other.mean * other.voices, 0) / voices;
  const noise = NOISE * Math.sqrt((own.mean * (1 - own.mean) + 0.05) / own.voices);
  const deficit = expected - own.mean - noise - TOLERANCE;
  return Math.min(1, Math.max(EXPERIENCE_MIN, 1 - SLOPE * Math.max(0, deficit)));
}

/** The next value to be shown: in steps, and not for small changes, so that noise moves no viewer. */
export function steppedFactor(raw: number, before: number): number {
  if (raw >= 0.95) return before === 1 || raw >= 0.99 ? 1 : before;
  if (Math.abs(raw - before) < STEP_MIN) return before;
  return Math.max(EXPERIENCE_MIN, Math.round(raw * 20) / 20);
}
