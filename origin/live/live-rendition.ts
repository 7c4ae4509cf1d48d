import type { RenditionDescription } from '#protocol/ingest/publish-session.ts';
import { initUri, partUri, peerPlaylistUri } from '#protocol/hls/media-uris.ts';
import type { PreloadHint } from '#protocol/hls/preload-hint.ts';
import type { RenditionReport } from '#protocol/hls/rendition-report.ts';
import type { PlaylistConstants } from '#protocol/hls/server-control.ts';
import { BandwidthMeter } from '#origin/live/bandwidth-meter.ts';
import type { LiveMetrics } from '#origin/live/live-metrics.ts';
import type { InitSection, LivePart, LiveSegment } from '#origin/live/live-segment.ts';
import type { PartPosition } from '#origin/live/part-position.ts';
import { PlaylistSnapshot } from '#origin/live/playlist-snapshot.ts';
import { RequestWaiters, type StreamHolds } from '#origin/live/request-waiters.ts';
import {
  SEGMENTS_WITH_PARTS,
  SegmentWindow,
  type RenditionTimeline,
  type WindowLength,
} from '#origin/live/segment-window.ts';
import type { PresentationRecorder, RestoredRendition } from '#origin/live/stream-recorder.ts';

/** What all renditions of a presentation have in common. */
export type RenditionContext = {
  readonly constants: PlaylistConstants;
  readonly windowLength: WindowLength;
  readonly holds: StreamHolds;
  readonly metrics: LiveMetrics;
  /** Takes a segment that has left the list and must be served until `untilMs`. */
  retain(renditionId: string, segment: LiveSegment, untilMs: number): void;
  /** Keeps what is listed; none when nothing is to be kept. */
  readonly recorder: PresentationRecorder | undefined;
};

/** Parts of segments stay fetchable for this many target durations after their tags have gone. @spec §6.2.2 */
const PARTS_RETAINED_TARGETS = 3;

/** What a playlist says of the stream around its own rendition. */
export type Surroundings = {
  readonly renditionReports: readonly RenditionReport[];
  /** The stream as a whole may be shown. */
  readonly isPlayable: boolean;
  readonly isEnded: boolean;
};

/** One rendition of a presentation: its segments, its init segments, its playlist and who waits for it. */
export class LiveRendition {
  readonly id: string;
  readonly waiters: RequestWaiters<PlaylistSnapshot>;
  readonly bandwidth: BandwidthMeter;
  /** Ingest → listed, of the newest part; wall clock, ms. */
  storeLatencyMs: number | null = null;
  readonly #context: RenditionContext;
  readonly #window: SegmentWindow;
  readonly #inits = new Map<number, InitSection>();
  #description: RenditionDescription;
  #timeline: number;
  #isRetired = false;
  #measuredMsn = 0;
  #longestListedMs = 0;
  #hasMedia = false;
  #snapshot: PlaylistSnapshot;

  constructor(
    description: RenditionDescription,
    timeline: number,
    renditionTimeline: RenditionTimeline,
    context: RenditionContext,
  ) {
    this.id = description.id;
    this.#description = description;
    this.#timeline = timeline;
    this.#context = context;
    this.#window = new SegmentWindow(context.windowLength, renditionTimeline);
    this.waiters = new RequestWaiters(context.holds);
    this.bandwidth = new BandwidthMeter(context.constants.targetDurationS);
    this.#snapshot = this.#takeSnapshot({ renditionReports: [], isPlayable: false, isEnded: false });
  }

  get description(): RenditionDescription {
    return this.#description;
  }

  get snapshot(): PlaylistSnapshot {
    return this.#snapshot;
  }

  get window(): Pick<
    SegmentWindow,
    'complete' | 'open' | 'newest' | 'next' | 'lastPart' | 'lastSegmentMsn' | 'timeline' | 'find'
  > {
    return this.#window;
  }

  /** Whether the newest timeline has it; otherwise it goes on with gaps for those who watch it. */
  get isRetired(): boolean {
    return this.#isRetired;
  }

  /** Whether it has a complete segment with media: only then do players get to see it. */
  get hasMedia(): boolean {
    return this.#hasMedia;
  }

  /** How far it has come, as its peers' playlists say. @spec rfc8216bis §4.4.5.4 */
  get report(): RenditionReport | undefined {
    const { lastPart } = this.#window;
    if (lastPart === undefined) return undefined;
    return { uri: peerPlaylistUri(this.id), lastMsn: lastPart.msn, lastPart: lastPart.part };
  }

  /** The init segment of a timeline of this playlist. */
  init(timeline: number): InitSection | undefined {
    return this.#inits.get(timeline);
  }

  /** Everything that is listed now, for another origin to go on with. */
  get image(): RestoredRendition {
    return {
      description: this.#description,
      isRetired: this.#isRetired,
      complete: [...this.#window.complete],
      open: this.#window.open,
      inits: [...this.#inits.values()],
    };
  }

  /** Whether the init segment is announced and may be waited for. */
  awaitsInit(timeline: number): boolean {
    return timeline === this.#timeline && !this.#isRetired && !this.#inits.has(timeline);
  }

  storeInit(init: InitSection): void {
    this.#inits.set(init.timeline, init);
    this.#window.useInit(init);
    this.#context.recorder?.initStored(this.id, init);
  }

  /** Takes over what another process has listed. Only before the first part. */
  restore({ complete, open, inits, isRetired }: RestoredRendition, nowMs: number): void {
    this.#isRetired = isRetired;
    for (const init of inits) {
      this.#inits.set(init.timeline, init);
      if (init.timeline === this.#timeline) this.#window.useInit(init);
    }
    this.#window.restore(complete, open);
    this.#afterChange(nowMs);
  }

  /**
   * Goes over to a new timeline whose first segment is the next one.
   *
   * @param description undefined when the new timeline does not have this rendition
   */
  beginTimeline(
    description: RenditionDescription | undefined,
    timeline: number,
    renditionTimeline: RenditionTimeline,
  ): void {
    this.#isRetired = description === undefined;
    this.#description = description ?? this.#description;
    this.#timeline = timeline;
    this.#window.begin(renditionTimeline);
    this.#dropUnusedInits();
  }

  /** Begins with a later segment than the timeline does. Only before the first part. */
  skipTo(msn: number): void {
    this.#window.skipTo(msn);
  }

  append(part: LivePart, startTicks: number | undefined, last: boolean, nowMs: number): void {
    this.#window.append(part, startTicks, last, nowMs);
    this.#afterChange(nowMs);
  }

  fillTo(position: PartPosition, nowMs: number): void {
    this.#countGaps(this.#window.fillTo(position, nowMs));
    this.#afterChange(nowMs);
  }

  padTo(msn: number, cells: number, nowMs: number): void {
    this.#countGaps(this.#window.padTo(msn, cells, nowMs));
    this.#afterChange(nowMs);
  }

  closeOpen(nowMs: number): void {
    this.#window.closeOpen(nowMs);
    this.#afterChange(nowMs);
  }

  /** Gives everything listed away, because another playlist takes this one's URL. */
  retainAll(nowMs: number): void {
    for (const segment of this.#window.complete) {
      segment.partsUntilMs = Math.min(segment.partsUntilMs, nowMs + this.#partsRetainedMs);
      this.#context.retain(this.id, segment, nowMs + this.#longestListedMs + segment.durationMs);
    }
  }

  /** Lets go of the oldest segment because memory is short. Returns its bytes, undefined when it needs all it lists. */
  evictOldest(): number | undefined {
    return this.#window.evictOldest(this.#context.constants.targetDurationS * 3000)?.mediaBytes;
  }

  /** Takes a new version of the playlist; nobody is woken yet. */
  refresh(surroundings: Surroundings): void {
    this.#snapshot = this.#takeSnapshot(surroundings);
  }

  /** Releases those whose condition the newest version meets. */
  wake(): void {
    this.waiters.publish(this.#snapshot);
  }

  #afterChange(nowMs: number): void {
    this.#context.recorder?.changed(this.id, this.#window);
    const { complete } = this.#window;
    for (const segment of complete.slice(complete.findLastIndex(({ msn }) => msn <= this.#measuredMsn) + 1)) {
      this.#measuredMsn = segment.msn;
      this.#hasMedia ||= !segment.isGap;
      this.bandwidth.add(segment);
    }
    this.#longestListedMs = Math.max(this.#longestListedMs, this.#window.listedMs);
    for (let index = complete.length - 1 - SEGMENTS_WITH_PARTS; index >= 0; index--) {
      const segment = complete[index];
      if (segment === undefined || segment.partsUntilMs < Number.POSITIVE_INFINITY) break;
      segment.partsUntilMs = nowMs + this.#partsRetainedMs;
    }
    for (const segment of this.#window.evict()) {
      // @spec rfc8216bis §6.2.2: from its first appearance, its own duration and the longest playlist that held it. A
      // playlist that stood still for a while has held it longer than it is long itself.
      const sinceMs = segment.completedAtMs ?? nowMs;
      const untilMs = sinceMs + segment.durationMs + this.#longestListedMs;
      this.#context.retain(this.id, segment, Math.max(untilMs, nowMs + this.#partsRetainedMs));
    }
  }

  get #partsRetainedMs(): number {
    return this.#context.constants.targetDurationS * 1000 * PARTS_RETAINED_TARGETS;
  }

  #countGaps(count: number): void {
    if (count > 0) this.#context.metrics.partsStored.inc({ outcome: 'gap' }, count);
  }

  #dropUnusedInits(): void {
    const used = new Set<number | undefined>([this.#timeline]);
    for (const segment of this.#window.complete) used.add(segment.origin.init?.timeline);
    for (const timeline of this.#inits.keys()) if (!used.has(timeline)) this.#inits.delete(timeline);
  }

  #takeSnapshot({ renditionReports, isPlayable, isEnded }: Surroundings): PlaylistSnapshot {
    const { complete, open, lastPart, lastSegmentMsn } = this.#window;
    const first = complete[0] ?? open;
    const partsFrom = complete.length - SEGMENTS_WITH_PARTS;
    return new PlaylistSnapshot(
      {
        constants: this.#context.constants,
        mediaSequence: first?.msn ?? this.#window.next.msn,
        discontinuitySequence: this.#discontinuitySequence(first),
        segments: complete.map((segment, index) => segment.listed(index >= partsFrom)),
        open: open?.listedOpen(),
        preloadHints: this.#preloadHints(),
        renditionReports,
        ended: isEnded,
      },
      {
        edge: lastPart === undefined ? undefined : { lastPart, lastSegmentMsn, ended: isEnded },
        isListable: isPlayable && this.#hasMedia,
      },
      this.#context.metrics,
    );
  }

  /** @spec rfc8216bis §6.2.2: a tag that is still listed is not counted */
  #discontinuitySequence(first: LiveSegment | undefined): number {
    if (first === undefined) return this.#window.timeline.discontinuityNumber;
    return first.origin.discontinuityNumber - (first.origin.discontinuity ? 1 : 0);
  }

  #preloadHints(): PreloadHint[] {
    const { next, newest, timeline } = this.#window;
    const hints: PreloadHint[] = [{ type: 'PART', uri: partUri(next.msn, next.part) }];
    const beginsTimeline = next.part === 0 && next.msn === timeline.grid.firstMsn && newest !== undefined;
    if (beginsTimeline && !this.#isRetired) hints.unshift({ type: 'MAP', uri: initUri(this.#timeline) });
    return hints;
  }
}
