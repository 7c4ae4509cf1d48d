import { LiveSegment, digestOf, type InitSection, type LivePart } from '#origin/live/live-segment.ts';
import type { RestoredRendition, RestoredStream } from '#origin/live/stream-recorder.ts';
import type { LiveRecording } from '#origin/recording/live-recording.ts';
import type { RecordingState } from '#origin/recording/recording-state.ts';
import {
  durationMsOf,
  gapAfter,
  type PartEntry,
  type SegmentEntry,
} from '#origin/recording/segment-entry.ts';
import type { Spool } from '#origin/recording/spool.ts';
import type { SpooledSegment } from '#origin/recording/spooled-segment.ts';

/** @spec rfc8216bis §6.2.2: what a live playlist lists at least, see `live-stream.ts` */
const SEGMENTS_LISTED_MIN = 6;

export type RestoreDeps = {
  readonly spool: Spool;
  /** Reads an init segment that is not in the spool. */
  readonly readInit: (renditionId: string, timeline: number) => Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Monotonic. */
  readonly nowMs: number;
  /** Told of every segment that neither the spool nor the database has. */
  readonly onLost: (count: number) => void;
};

/**
 * Fills the indexes of a recording with what an earlier process left in the spool, after what the database had, and
 * queues it for the store.
 *
 * @returns the segments that were open, by rendition
 */
export async function loadSpooled(
  recording: LiveRecording,
  spooled: ReadonlyMap<string, { readonly msns: readonly number[] }>,
  { spool, onLost }: Pick<RestoreDeps, 'spool' | 'onLost'>,
): Promise<Map<string, SpooledSegment>> {
  const open = new Map<string, SpooledSegment>();
  for (const [renditionId, { msns }] of spooled) {
    const { index } = recording.rendition(renditionId);
    for (const msn of msns) {
      const place = { ref: recording.ref, renditionId, msn };
      if (msn <= (index.newest?.msn ?? 0)) {
        // The index got there first; the file was about to be removed.
        spool.remove(place);
        continue;
      }
      const segment = await spool.read(place);
      if (segment === undefined || (segment.entry === undefined && msn !== msns.at(-1))) {
        spool.remove(place);
        continue;
      }
      if (segment.entry === undefined) {
        open.set(renditionId, segment);
        continue;
      }
      const isGap = segment.entry.bytes === 0;
      onLost(index.add(segment.entry, isGap ? 'stored' : 'waiting'));
      if (!isGap) recording.uploadSpooled(renditionId, segment.entry);
    }
  }
  return open;
}

/**
 * The live window as it was, from the index and the open segments.
 *
 * @returns undefined when there is nothing to go on with
 */
export async function restoreStream(
  recording: LiveRecording,
  state: RecordingState,
  open: ReadonlyMap<string, SpooledSegment>,
  deps: RestoreDeps,
): Promise<RestoredStream | undefined> {
  const renditions: RestoredRendition[] = [];
  for (const { description, isRetired } of state.renditions) {
    const restored = await restoreRendition(recording, state, description.id, open.get(description.id), deps);
    if (restored === undefined) return undefined;
    renditions.push({ description, isRetired, ...restored });
  }
  const hasAny = renditions.some(({ complete, open: last }) => complete.length > 0 || last !== undefined);
  if (!hasAny) return undefined;
  return {
    streamId: recording.ref.streamId,
    firstMsn: recording.ref.id,
    state,
    renditions,
    recorder: recording,
  };
}

async function restoreRendition(
  recording: LiveRecording,
  state: RecordingState,
  renditionId: string,
  open: SpooledSegment | undefined,
  deps: RestoreDeps,
): Promise<Pick<RestoredRendition, 'complete' | 'open' | 'inits'> | undefined> {
  const rendition = recording.rendition(renditionId);
  const { index } = rendition;
  // The numbers up to where the newest timeline begins, and up to an open segment, were given out.
  const nextMsn = Math.max(open?.origin.msn ?? 0, state.timeline.firstMsn);
  let missing = 0;
  for (let { newest } = index; newest !== undefined && newest.msn + 1 < nextMsn; { newest } = index) {
    index.add(gapAfter(newest), 'lost');
    missing += 1;
  }
  deps.onLost(missing);
  const entries = windowOf(index.entries, state.liveWindowMs, state.constants.targetDurationS);
  const inits = await readInits(recording, state, renditionId, entries, open, deps);
  if (inits === undefined) return undefined;
  for (const init of inits) rendition.inits.set(init.timeline, init);
  const initOf = (timeline: number | null): InitSection | undefined =>
    inits.find((init) => init.timeline === timeline);
  const kind = recording.kindOf(renditionId);
  const complete = entries.map((entry) =>
    LiveSegment.restored(
      { ...entry, kind, init: initOf(entry.initTimeline) },
      { durationTicks: entry.durationTicks, bytes: entry.bytes, parts: entry.parts.map(storedPart) },
      deps.nowMs,
    ),
  );
  const last = complete.at(-1)?.msn ?? 0;
  let segment: LiveSegment | undefined;
  if (open !== undefined && open.origin.msn === Math.max(last + 1, nextMsn)) {
    segment = new LiveSegment({ ...open.origin, kind, init: initOf(open.origin.initTimeline) });
    for (const { media, digest, durationTicks, independent } of open.parts)
      segment.add({ durationTicks, independent, media: media && { bytes: media, digest } });
  }
  rendition.next =
    segment === undefined ? { msn: last + 1, part: 0 } : { msn: segment.msn, part: segment.parts.length };
  return { complete, open: segment, inits };
}

/** The newest entries that fill the live window, by the rule by which it lets go of its oldest. */
function windowOf(
  entries: readonly SegmentEntry[],
  liveWindowMs: number,
  targetDurationS: number,
): readonly SegmentEntry[] {
  const leastMs = Math.max(liveWindowMs, targetDurationS * 3_000);
  let first = entries.length;
  for (let listedMs = 0; first > 0; first--) {
    const isEnough = listedMs >= leastMs && entries.length - first >= SEGMENTS_LISTED_MIN;
    const entry = entries[first - 1];
    if (isEnough || entry === undefined) break;
    listedMs += durationMsOf(entry);
  }
  return entries.slice(first);
}

/** @returns undefined when one that is needed cannot be had */
async function readInits(
  recording: LiveRecording,
  state: RecordingState,
  renditionId: string,
  entries: readonly SegmentEntry[],
  open: SpooledSegment | undefined,
  deps: RestoreDeps,
): Promise<InitSection[] | undefined> {
  const needed = new Set<number>();
  for (const { initTimeline } of entries) if (initTimeline !== null) needed.add(initTimeline);
  const openTimeline = open?.origin.initTimeline ?? null;
  if (openTimeline !== null) needed.add(openTimeline);
  const kind = recording.kindOf(renditionId);
  const inits: InitSection[] = [];
  for (const timeline of new Set([...needed, state.timeline.firstMsn])) {
    const bytes =
      (await deps.spool.readInit(recording.ref, renditionId, timeline)) ??
      (await deps.readInit(renditionId, timeline));
    if (bytes !== undefined) inits.push({ bytes, digest: digestOf(bytes), timeline, kind });
    else if (needed.has(timeline)) return undefined;
  }
  return inits;
}

function storedPart({ durationTicks, independent, bytes, digest }: PartEntry): LivePart {
  return {
    durationTicks,
    independent,
    media: undefined,
    stored: bytes === 0 ? undefined : { bytes, digest },
  };
}
