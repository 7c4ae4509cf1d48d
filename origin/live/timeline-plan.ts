/** What decides on the numbers of a new timeline. */
export type TimelinePlanInput = {
  /** Wall clock of media time 0 at the ingest, and now, ms since the Unix epoch. */
  readonly anchorUtcMs: number;
  readonly nowUtcMs: number;
  /** Exact length of a segment, fractional ms. */
  readonly segmentMs: number;
  /** Highest number that was ever given out, 0 if none. */
  readonly lastNumber: number;
};

/**
 * The MSN of a timeline's first segment: the wall clock counted in segments, so that numbers go on where they would be
 * after a restart of everything, and never a number that was used. A transcoder whose clock is ahead cannot push the
 * numbers into the future.
 */
export function firstMsnOf(input: TimelinePlanInput): number {
  const utcMs = Math.min(input.anchorUtcMs, input.nowUtcMs);
  return Math.max(1, Math.floor(utcMs / input.segmentMs), input.lastNumber + 1);
}

/** How far PROGRAM-DATE-TIME may step back where a timeline begins. @spec rfc8216bis §6.2.1: sub-second */
const OVERLAP_MAX_MS = 900;

/** The end of what is listed before a timeline begins. */
export type ListedEnd = {
  /** Wall clock, fractional ms since the Unix epoch. */
  readonly utcMs: number;
  /** Length of the last listed segment. */
  readonly segmentMs: number;
};

/**
 * The wall clock to write for media time 0 of a timeline: its anchor, unless what is listed reaches further. Gaps run in
 * real time while media arrive late by the length of the pipeline, so a small overlap is normal; a larger one comes from
 * clocks that disagree and would make the mapping ambiguous.
 *
 * @spec rfc8216bis §6.2.1: sub-second, and only part of the segment before
 */
export function timelineStartUtcMs(anchorUtcMs: number, listed: ListedEnd | undefined): number {
  if (listed === undefined) return anchorUtcMs;
  return Math.max(anchorUtcMs, listed.utcMs - Math.min(OVERLAP_MAX_MS, listed.segmentMs / 2));
}
