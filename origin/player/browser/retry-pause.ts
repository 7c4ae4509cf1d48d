import type { PlaybackFailure } from './playback-failure.ts';

const FIRST_MS = 400;
const LONGEST_MS = 5_000;
/** A stream that is not there is looked for at this pace, beside the list of streams that says when it comes. */
const MISSING_MS = 5_000;

/** Pauses before loading goes on after a failure in the middle of playback; what is buffered plays meanwhile. */
const RESUME_PAUSES_MS = [250, 500, 1_000, 2_000] as const;
/** A stream that is gone (404, 410) comes back soon or not at all. */
const RESUMES_WHEN_MISSING = 2;

/**
 * How long to wait before loading goes on without giving up the picture, undefined when that is no use (any more).
 *
 * @param attempt 0 for the first failure since the playlist last came
 */
export function resumePauseMs(failure: PlaybackFailure, attempt: number): number | undefined {
  switch (failure) {
    case 'missing':
      return attempt < RESUMES_WHEN_MISSING ? RESUME_PAUSES_MS[attempt] : undefined;
    case 'network':
    case 'busy':
      return RESUME_PAUSES_MS[attempt];
    case 'media':
    case 'codec':
    case 'unsupported':
      return undefined;
    default:
      return failure satisfies never;
  }
}

/**
 * How long to wait before a failed playback is tried again, undefined when trying again is up to the viewer.
 *
 * @param attempt 0 for the first failure in a row
 * @param random 0–1; spreads viewers who failed at the same moment
 */
export function retryPauseMs(failure: PlaybackFailure, attempt: number, random: number): number | undefined {
  switch (failure) {
    case 'codec':
    case 'unsupported':
      return undefined;
    case 'missing':
      return MISSING_MS * (0.8 + 0.4 * random);
    case 'network':
    case 'busy':
    case 'media':
      return Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 10)) * (0.7 + 0.6 * random);
    default:
      return failure satisfies never;
  }
}
