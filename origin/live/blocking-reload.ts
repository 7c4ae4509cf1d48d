import { ProblemError } from '#runtime/http/problem.ts';
import { comparePositions, type PartPosition } from '#origin/live/part-position.ts';

/** How far a playlist has come. */
export type PlaylistEdge = {
  /** The newest part. */
  readonly lastPart: PartPosition;
  /** MSN of the newest complete segment. */
  readonly lastSegmentMsn: number;
  /** The playlist carries EXT-X-ENDLIST. */
  readonly ended: boolean;
};

/** What a blocked request waits for. */
export type BlockingGoal = {
  /** The same for all requests that wait for the same. */
  readonly key: string;
  isMet(edge: PlaylistEdge): boolean;
};

/** What a playlist promises about its parts, as far as look-ahead is concerned. */
export type LookAheadLimits = { readonly partsPerSegment: number; readonly partTargetMs: number };

/** @spec rfc8216bis §6.2.5.2: two segments beyond the last one */
const SEGMENTS_AHEAD_MAX = 2;

/**
 * What `_HLS_msn=M` and `_HLS_part=N` wait for.
 *
 * - With a part: the playlist holds that part or any later one. A part beyond the end of its segment is thereby the
 *   first part of the next segment, whether the segment is complete or still open.
 * - Without a part, the rule is "a Media Segment with MSN M or later": the segment is waited for until it is complete.
 *   The one exception is the next segment as long as it has not begun. Its first part is enough: Safari asks for it like
 *   that and freezes when it gets nothing until the end, and a client that wants whole segments asks once more and is
 *   then held to the end (docs/decisions/0008-reload-without-a-part.md).
 * - "The last Media Segment" of the look-ahead limit is the open one, whether or not it has a part: an edge may be one
 *   segment behind the client.
 * - The Advance Part Limit is never tighter than one segment of parts: a player that wants whole segments asks for the
 *   last part of the next one.
 *
 * @throws {ProblemError} 400 `msn_too_far` or `part_too_far`
 * @spec rfc8216bis §6.2.5.2
 */
export function blockingGoal(
  edge: PlaylistEdge,
  block: { readonly msn: number; readonly part: number | undefined },
  limits: LookAheadLimits,
): BlockingGoal {
  const { msn, part } = block;
  if (edge.ended || msn <= edge.lastSegmentMsn)
    return part === undefined ? segmentGoal(msn) : partGoal({ msn, part });
  const openMsn = edge.lastSegmentMsn + 1;
  if (msn > openMsn + SEGMENTS_AHEAD_MAX)
    throw new ProblemError(
      400,
      'msn_too_far',
      `_HLS_msn may be at most ${openMsn + SEGMENTS_AHEAD_MAX} now.`,
    );
  const begun = edge.lastPart.msn === msn;
  if (part === undefined) return begun || msn > openMsn ? segmentGoal(msn) : partGoal({ msn, part: 0 });
  const partMax = (begun ? edge.lastPart.part : -1) + advancePartLimit(limits);
  if (part > partMax)
    throw new ProblemError(400, 'part_too_far', `_HLS_part of segment ${msn} may be at most ${partMax} now.`);
  return partGoal({ msn, part });
}

/** @spec rfc8216bis §6.2.5.2 */
function advancePartLimit({ partTargetMs, partsPerSegment }: LookAheadLimits): number {
  const limit = partTargetMs < 1000 ? Math.floor(3000 / partTargetMs) : 3;
  return Math.max(limit, partsPerSegment);
}

/** Waits for a part or any later one. */
export function partGoal(wanted: PartPosition): BlockingGoal {
  return {
    key: `part ${wanted.msn}.${wanted.part}`,
    isMet: (edge) => edge.ended || comparePositions(edge.lastPart, wanted) >= 0,
  };
}

function segmentGoal(msn: number): BlockingGoal {
  return {
    key: `segment ${msn}`,
    isMet: (edge) => edge.ended || edge.lastSegmentMsn >= msn,
  };
}
