import type { PartUpload } from '#protocol/ingest/part-upload.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { LiveRendition } from '#origin/live/live-rendition.ts';
import type { MediaObject } from '#origin/live/live-segment.ts';
import type { TimelineGrid } from '#origin/live/timeline-grid.ts';

/**
 * What became of a part that was put into its place: `stored`, `gap` (its place is listed as a gap, as asked),
 * `undecodable` (the beginning of its segment is missing; listed as a gap, bytes dropped).
 */
export type PlacedOutcome = 'stored' | 'gap' | 'undecodable';

/**
 * What became of an upload: it was placed, or `waiting` (for an earlier part, or for the pipeline that is preferred),
 * `repeated` (the same bytes were there), `superseded` (another pipeline's copy is listed; dropped).
 */
export type PartOutcome = PlacedOutcome | 'waiting' | 'repeated' | 'superseded';

/** Where a part goes, as far as the presentation says. */
export type PlacementContext = {
  readonly grid: TimelineGrid;
  readonly segmentsPerWindow: number;
  /** How long the timeline has been going on, ms. */
  readonly timelineAgeMs: number;
};

/**
 * Refuses a part whose headers cannot be right, before its body is read.
 *
 * @throws {ProblemError} 422 `part_invalid`
 */
export function assertPlace(rendition: LiveRendition, upload: PartUpload, context: PlacementContext): void {
  const { grid } = context;
  const { timescale } = rendition.window.timeline;
  const refuse = (message: string): never => {
    throw new ProblemError(422, 'part_invalid', message);
  };
  if (rendition.init(grid.firstMsn) === undefined)
    refuse('The init segment of the timeline must come first.');
  if (upload.msn < grid.firstMsn) refuse(`The timeline begins with segment ${grid.firstMsn}.`);
  if (upload.part >= grid.partsPerSegment) refuse(`A segment has ${grid.partsPerSegment} parts.`);
  const { next, lastPart } = rendition.window;
  const skipped = upload.msn - next.msn;
  if (skipped > context.segmentsPerWindow && lastPart !== undefined)
    refuse(`Segment ${next.msn} is next; ${skipped} missing ones are too many, begin a new timeline.`);
  // A number far ahead of the clock would be used up for good.
  if (grid.segmentStartMs(upload.msn - context.segmentsPerWindow) > context.timelineAgeMs)
    refuse(`Segment ${upload.msn} cannot have been recorded yet.`);
  const durationMs = (upload.durationTicks * 1000) / timescale;
  if (durationMs > grid.partTargetMs) refuse(`${durationMs} ms are more than PART-TARGET.`);
  if (upload.gap) return;
  if (upload.durationTicks < 1) refuse('A part must last.');
  if (!grid.holds(upload, (upload.startTicks * 1000) / timescale))
    refuse(`Its start does not lie in part ${upload.part} of segment ${upload.msn}.`);
  if (ticksBefore(rendition, upload, grid) + upload.durationTicks > grid.segmentTicksMax(timescale))
    refuse('The segment would become longer than the target duration.');
}

/** What its segment lasts up to a part, the gaps included that would be listed in front of it. */
function ticksBefore(rendition: LiveRendition, { msn, part }: PartUpload, grid: TimelineGrid): number {
  const { open, timeline } = rendition.window;
  const listed = open?.msn === msn ? open : undefined;
  let ticks = listed?.durationTicks ?? 0;
  for (let missing = listed?.parts.length ?? 0; missing < part; missing++)
    ticks += grid.gapTicks(missing, timeline.timescale);
  return ticks;
}

/**
 * Puts a part that has not been passed into its place, with gaps for what is missing before it.
 *
 * @param media undefined when the upload says that the part does not exist
 * @param nowMs monotonic
 * @throws {ProblemError} 422 `part_invalid`
 */
export function placePart(
  rendition: LiveRendition,
  upload: PartUpload,
  media: MediaObject | undefined,
  context: PlacementContext,
  nowMs: number,
): PlacedOutcome {
  assertPlace(rendition, upload, context);
  const { grid } = context;
  if (rendition.window.lastPart === undefined)
    rendition.skipTo(Math.max(grid.firstMsn, upload.msn - context.segmentsPerWindow));
  const before = grid.advance({ msn: upload.msn - 1, part: upload.part }, grid.partsPerSegment - 1);
  rendition.fillTo(before, nowMs);
  const { open, timeline } = rendition.window;
  const isDecodable = upload.independent || (open?.isDecodable ?? false);
  const kept = isDecodable ? media : undefined;
  const durationTicks =
    upload.durationTicks > 0 ? upload.durationTicks : grid.gapTicks(upload.part, timeline.timescale);
  rendition.append(
    { durationTicks, independent: upload.independent && kept !== undefined, media: kept },
    kept === undefined ? undefined : upload.startTicks,
    upload.last,
    nowMs,
  );
  if (kept !== undefined) return 'stored';
  return media === undefined ? 'gap' : 'undecodable';
}

/**
 * Judges a part whose place has been passed. It is either there already, or it comes after its place was listed as a
 * gap: what a playlist has said it cannot take back.
 *
 * @throws {ProblemError} 409 `part_conflict`
 */
export function compareWithListed(
  rendition: LiveRendition,
  upload: PartUpload,
  media: MediaObject | undefined,
): 'repeated' {
  const known = rendition.window.find(upload.msn)?.parts[upload.part];
  if (known !== undefined && (known.media ?? known.stored)?.digest === media?.digest) return 'repeated';
  throw new ProblemError(
    409,
    'part_conflict',
    known === undefined
      ? 'The place of this part has been passed.'
      : known.media === undefined && known.stored === undefined
        ? 'This part has been listed as a gap.'
        : 'Other bytes are stored for this part.',
  );
}
