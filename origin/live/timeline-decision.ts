import { ProblemError } from '#runtime/http/problem.ts';
import type { LivePresentation } from '#origin/live/live-presentation.ts';
import type { TimelineDecision, TimelineInput } from '#origin/live/timeline-input.ts';
import { firstMsnOf } from '#origin/live/timeline-plan.ts';

/**
 * Numbers left out before a new playlist at the same URLs: requests for the next segments of the old one may have been
 * answered with its end, and caches remember that.
 */
const NEW_PLAYLIST_MSN_MARGIN = 3;
/** A number that is known from records alone may be so old; what was listed since has used others up. */
const RECORDED_MSN_AGE_MAX_MS = 12_000;

/** What is here when a timeline is asked for. */
export type TimelineSurroundings = {
  readonly presentation: LivePresentation | undefined;
  /** Highest number that was listed or given out here, 0 if none. */
  readonly lastMsn: number;
  readonly nowUtcMs: number;
};

/**
 * Where a timeline begins, and whether it goes on in the playlists that there are: as another origin has decided, or by
 * the numbers that were used.
 *
 * @throws {ProblemError} 409 `timeline_elsewhere` when what another origin has decided does not fit what is here
 */
export function decideTimeline(
  input: TimelineInput,
  { presentation, lastMsn, nowUtcMs }: TimelineSurroundings,
): Pick<TimelineDecision, 'firstMsn' | 'isContinued'> {
  const { assigned, anchorUtcMs, lastMsnFloor } = input;
  if (assigned !== undefined) {
    const fits = presentation?.canContinue(input.presentation, assigned.firstMsn) === true;
    const isNext = presentation?.timelineStart.discontinuityNumber === assigned.discontinuityNumber - 1;
    if (assigned.firstMsn <= lastMsn || (assigned.isContinued && !(fits && isNext)))
      throw new ProblemError(409, 'timeline_elsewhere', 'The playlists here are not those of the timeline.');
    return assigned;
  }
  const { ticks, timescale } = input.presentation.segmentDuration;
  const segmentMs = (ticks * 1000) / timescale;
  const firstMsnAfter = (number: number): number =>
    firstMsnOf({ anchorUtcMs, nowUtcMs, segmentMs, lastNumber: number });
  const lastNumber = Math.max(lastMsnFloor, lastMsn);
  const firstMsn = firstMsnAfter(lastNumber);
  const afterGap = presentation?.firstMsnAfterGap(Math.min(anchorUtcMs, nowUtcMs)) ?? 0;
  const continuedMsn = Math.max(firstMsn, afterGap);
  if (presentation?.canContinue(input.presentation, continuedMsn) === true)
    return { firstMsn: continuedMsn, isContinued: true };
  if (lastNumber === 0) return { firstMsn, isContinued: false };
  const unrecorded = lastMsnFloor > lastMsn ? Math.ceil(RECORDED_MSN_AGE_MAX_MS / segmentMs) : 0;
  return { firstMsn: firstMsnAfter(lastNumber + NEW_PLAYLIST_MSN_MARGIN + unrecorded), isContinued: false };
}
