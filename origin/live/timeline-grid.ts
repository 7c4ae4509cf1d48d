import type { Presentation } from '#protocol/ingest/publish-session.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { PartPosition } from '#origin/live/part-position.ts';

/** @spec rfc8216bis §4.4.4.9: what a gap lasts is held to the same bounds as a part, though it need not be. */
const PART_SHARE_MIN = 0.85;

/**
 * The part grid of one timeline as the origin needs it: where a part must lie, and how long a missing one is. The cutter
 * owns the exact rule of which frame belongs to which cell (`protocol/cmaf/track-grid.ts`).
 */
export class TimelineGrid {
  readonly firstMsn: number;
  readonly partsPerSegment: number;
  readonly partTargetMs: number;
  readonly targetDurationS: number;
  /** Fractional milliseconds. */
  readonly segmentMs: number;
  readonly cellMs: number;

  constructor(presentation: Presentation, firstMsn: number) {
    const { ticks, timescale } = presentation.segmentDuration;
    this.firstMsn = firstMsn;
    this.partsPerSegment = presentation.partsPerSegment;
    this.partTargetMs = presentation.partTargetMs;
    this.targetDurationS = presentation.targetDurationS;
    this.segmentMs = (ticks * 1000) / timescale;
    this.cellMs = this.segmentMs / this.partsPerSegment;
  }

  /** Media time of the beginning of a segment, fractional milliseconds. */
  segmentStartMs(msn: number): number {
    return (msn - this.firstMsn) * this.segmentMs;
  }

  /**
   * Whether a part may begin at `startMs`. A frame beside the edge of a cell can fall to either side of it, so one cell
   * of play is given; further off means that the writer and the origin do not share the grid.
   */
  holds(position: PartPosition, startMs: number): boolean {
    const cellStartMs = this.segmentStartMs(position.msn) + position.part * this.cellMs;
    return startMs >= cellStartMs - this.cellMs && startMs < cellStartMs + 2 * this.cellMs;
  }

  /** Length of a missing part in ticks; those of a whole segment add up to the segment exactly. */
  gapTicks(part: number, timescale: number): number {
    const edge = (cell: number): number => Math.round((cell * this.cellMs * timescale) / 1000);
    const mostTicks = Math.floor((this.partTargetMs * timescale) / 1000);
    const leastTicks = Math.ceil((this.partTargetMs * PART_SHARE_MIN * timescale) / 1000);
    return Math.max(1, Math.min(mostTicks, Math.max(leastTicks, edge(part + 1) - edge(part))));
  }

  /** Longest a segment may become, in ticks: what still rounds to TARGETDURATION. @spec rfc8216bis §4.4.3.1 */
  segmentTicksMax(timescale: number): number {
    return Math.floor((this.targetDurationS + 0.49) * timescale);
  }

  /** The place `cells` after another one. */
  advance(from: PartPosition, cells: number): PartPosition {
    const index = from.part + cells;
    return {
      msn: from.msn + Math.floor(index / this.partsPerSegment),
      part: index % this.partsPerSegment,
    };
  }
}

/**
 * Refuses a presentation that no valid playlist can be written for.
 *
 * @throws {ProblemError} 400 `presentation_invalid`
 */
export function assertPlayable(presentation: Presentation): void {
  const { ticks, timescale } = presentation.segmentDuration;
  const refuse = (field: string, message: string): never => {
    throw new ProblemError(400, 'presentation_invalid', `${field}: ${message}`, {
      fields: [{ field: `presentation.${field}`, message }],
    });
  };
  const segmentMs = (ticks * 1000) / timescale;
  if (Math.round(segmentMs / 1000) > presentation.targetDurationS)
    refuse('targetDurationS', 'a segment of this length rounds to more');
  if (segmentMs > presentation.partsPerSegment * presentation.partTargetMs)
    refuse('partTargetMs', 'parts of this length do not fill a segment');
  const ids = new Set(presentation.renditions.map(({ id }) => id));
  if (ids.size < presentation.renditions.length) refuse('renditions', 'two renditions have the same id');
}
