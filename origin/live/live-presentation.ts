import type { Presentation, RenditionDescription } from '#protocol/ingest/publish-session.ts';
import type { PartUpload } from '#protocol/ingest/part-upload.ts';
import { writeMultivariantPlaylist } from '#protocol/hls/multivariant-playlist.ts';
import type { PlaylistConstants } from '#protocol/hls/server-control.ts';
import type { Clock } from '#runtime/clock.ts';
import type { ProblemError } from '#runtime/http/problem.ts';
import { GapCadence } from '#origin/live/gap-cadence.ts';
import type { InitSection, MediaObject } from '#origin/live/live-segment.ts';
import { LiveRendition } from '#origin/live/live-rendition.ts';
import { offerOf } from '#origin/live/multivariant-offer.ts';
import { comparePositions, laterPosition, type PartPosition } from '#origin/live/part-position.ts';
import { PartCandidates, type Candidate } from '#origin/live/part-candidates.ts';
import { assertPlace, placePart, type PartOutcome, type PlacedOutcome } from '#origin/live/part-placement.ts';
import { RenderedPlaylist } from '#origin/live/playlist-snapshot.ts';
import type { PresentationContext } from '#origin/live/presentation-context.ts';
import { PartFreshness, streamStale } from '#origin/live/part-freshness.ts';
import { RequestWaiters } from '#origin/live/request-waiters.ts';
import type { RestoredStream } from '#origin/live/stream-recorder.ts';
import { TimelineGrid } from '#origin/live/timeline-grid.ts';
import type { TimelineDecision } from '#origin/live/timeline-input.ts';
import { timelineStartUtcMs, type ListedEnd } from '#origin/live/timeline-plan.ts';

/** Renditions of one playlist's life, retired ones included; more begin a new playlist. */
export const RENDITIONS_MAX = 32;
/** A rendition without a segment is no longer waited for when another one has this many. */
const SEGMENTS_WITHOUT_LAGGARD = 3;
const BEFORE_ALL: PartPosition = { msn: 0, part: 0 };

/** Everything that shares one life of playlists: from the first part to EXT-X-ENDLIST. */
export class LivePresentation {
  readonly constants: PlaylistConstants;
  /** Released when the presentation can be shown, or has ended without. */
  readonly waiters: RequestWaiters<LivePresentation>;
  readonly #clock: Clock;
  readonly #context: PresentationContext;
  readonly #renditions = new Map<string, LiveRendition>();
  /** Of the newest timeline, by rendition. */
  readonly #candidates = new Map<string, PartCandidates>();
  readonly #freshness: PartFreshness;
  #grid: TimelineGrid;
  #timelines = 0;
  #timelineStartUtcMs = 0;
  #timelineBeganMs = 0;
  #lead: { readonly position: PartPosition; readonly atMs: number } | undefined;
  #cadence: GapCadence | undefined;
  #isPlayable = false;
  #isEnded = false;
  #multivariant: RenderedPlaylist | undefined;

  constructor(presentation: Presentation, context: PresentationContext, clock: Clock) {
    this.constants = context.constants;
    this.#context = context;
    this.#clock = clock;
    this.#grid = new TimelineGrid(presentation, 1);
    this.waiters = new RequestWaiters(context.holds);
    this.#freshness = new PartFreshness({
      clock,
      partTargetMs: presentation.partTargetMs,
      targetDurationMs: presentation.targetDurationS * 1000,
      onChange: (isStale) => this.#onFreshness(isStale),
      onStale: () => this.#sendAway(),
    });
  }

  get renditions(): ReadonlyMap<string, LiveRendition> {
    return this.#renditions;
  }

  get grid(): TimelineGrid {
    return this.#grid;
  }

  /** Whether players may see it: every rendition has a complete segment, or is too far behind to be waited for. */
  get isPlayable(): boolean {
    return this.#isPlayable;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /**
   * Why players are to be sent to another origin: parts do not reach this one, though the session lives. Never when
   * there is no other one. Undefined when they may stay.
   */
  get staleness(): ProblemError | undefined {
    const isShunned = this.#freshness.isStale && this.#isPlayable && !this.#context.isLastOrigin();
    return isShunned ? streamStale(this.#freshness.ageMs) : undefined;
  }

  get isStale(): boolean {
    return this.#freshness.isStale;
  }

  /** Since when there is no new part with media, ms. */
  get lastPartAgeMs(): number {
    return this.#freshness.ageMs;
  }

  /** The newest part of any rendition; undefined before the first. */
  get lastPart(): PartPosition | undefined {
    return this.#lead?.position;
  }

  /**
   * The least first MSN with which a timeline can go on here: after the newest part, and after as many gap segments as
   * the media was missing for. What is less than a part needs no gap. @spec rfc8216bis §6.2.1
   */
  firstMsnAfterGap(anchorUtcMs: number): number {
    if (this.#lead === undefined) return 1;
    const missingMs = anchorUtcMs - (this.#listedEnd()?.utcMs ?? anchorUtcMs) - this.#grid.cellMs;
    return this.#lead.position.msn + 1 + Math.max(0, Math.ceil(missingMs / this.#grid.segmentMs));
  }

  /** Monotonic time at which the newest part was listed; undefined before the first. */
  get lastPartAtMs(): number | undefined {
    return this.#lead?.atMs;
  }

  /** Whether a timeline can go on in the same playlists. */
  canContinue(presentation: Presentation, firstMsn: number): boolean {
    const ids = new Set([...this.#renditions.keys(), ...presentation.renditions.map(({ id }) => id)]);
    const holeSegments = this.#lead === undefined ? 0 : firstMsn - 1 - this.#lead.position.msn;
    return (
      !this.#isEnded &&
      presentation.targetDurationS === this.constants.targetDurationS &&
      presentation.partTargetMs === this.constants.partTargetMs &&
      ids.size <= RENDITIONS_MAX &&
      holeSegments <= this.segmentsPerWindow
    );
  }

  /** What was decided about the newest timeline. */
  get timelineStart(): Pick<TimelineDecision, 'startUtcMs' | 'discontinuityNumber'> {
    return { startUtcMs: this.#timelineStartUtcMs, discontinuityNumber: this.#timelines - 1 };
  }

  get timelineAgeMs(): number {
    return this.#clock.monotonicMs() - this.#timelineBeganMs;
  }

  /** How many whole segments the window holds. */
  get segmentsPerWindow(): number {
    const { durationMs, segmentsMin } = this.#context.windowLength;
    return Math.max(segmentsMin, Math.ceil(durationMs / this.#grid.segmentMs));
  }

  /**
   * Goes over to a new timeline. All renditions first reach the same place, then are filled with gaps up to its first
   * segment, so that the discontinuity has the same number in all of them.
   */
  beginTimeline(
    presentation: Presentation,
    timeline: number,
    anchorUtcMs: number,
    assigned?: TimelineDecision,
  ): void {
    this.stopGaps();
    this.#flushCandidates();
    const nowMs = this.#clock.monotonicMs();
    const grid = new TimelineGrid(presentation, timeline);
    this.#closeUpTo(grid.firstMsn - 1, anchorUtcMs, nowMs);
    const startUtcMs = assigned?.startUtcMs ?? timelineStartUtcMs(anchorUtcMs, this.#listedEnd());
    const discontinuityNumber = assigned?.discontinuityNumber ?? this.#timelines;
    this.#timelineStartUtcMs = startUtcMs;
    this.#timelines = discontinuityNumber + 1;
    this.#grid = grid;
    this.#timelineBeganMs = nowMs;
    const byId = new Map(presentation.renditions.map((rendition) => [rendition.id, rendition]));
    const timelineOf = ({ kind, timescale }: RenditionDescription) => ({
      grid,
      kind,
      timescale,
      startUtcMs,
      discontinuityNumber,
    });
    for (const rendition of this.#renditions.values()) {
      const description = byId.get(rendition.id);
      rendition.beginTimeline(description, timeline, timelineOf(description ?? rendition.description));
      byId.delete(rendition.id);
    }
    for (const description of byId.values())
      this.#renditions.set(
        description.id,
        new LiveRendition(description, timeline, timelineOf(description), this.#context),
      );
    this.#freshness.watch();
    this.#refreshAll();
  }

  /** Takes over what another process has listed, in its newest timeline. Only before the first part. */
  restore({ state, renditions }: RestoredStream, nowUtcMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    const { timeline } = state;
    this.#grid = new TimelineGrid(timeline.presentation, timeline.firstMsn);
    this.#timelineStartUtcMs = timeline.startUtcMs;
    this.#timelines = timeline.discontinuityNumber + 1;
    this.#timelineBeganMs = nowMs - Math.max(0, nowUtcMs - timeline.beganUtcMs);
    for (const restored of renditions) {
      const { kind, timescale, id } = restored.description;
      const { startUtcMs, discontinuityNumber, firstMsn } = timeline;
      const window = { grid: this.#grid, kind, timescale, startUtcMs, discontinuityNumber };
      const rendition = new LiveRendition(restored.description, firstMsn, window, this.#context);
      rendition.restore(restored, nowMs);
      this.#renditions.set(id, rendition);
      this.#advanceLead(rendition.window.lastPart, nowMs);
    }
    this.#becomesPlayable();
    this.#freshness.watch();
    this.#refreshAll();
  }

  /**
   * @param pipeline which encoder has put it; undefined for the only one
   * @throws {ProblemError} 409 `part_conflict` when the pipeline has put another one, `init_mismatch` when another
   *   pipeline has; `pipelines_exhausted`
   */
  storeInit(rendition: LiveRendition, init: InitSection, pipeline?: string): PartOutcome {
    const known = rendition.init(init.timeline);
    this.#candidatesOf(rendition).noteInit(pipeline, known === undefined || known.digest === init.digest);
    if (known !== undefined) return 'repeated';
    rendition.storeInit(init);
    rendition.wake();
    return 'stored';
  }

  /**
   * Refuses a part whose headers cannot be right, before its body is read.
   *
   * @throws {ProblemError} 409 `init_mismatch`, `pipelines_exhausted`, 422 `part_invalid`
   */
  assertAcceptable(rendition: LiveRendition, upload: PartUpload): void {
    assertPlace(rendition, upload, this);
    this.#candidatesOf(rendition).assertMayWrite(upload);
  }

  /**
   * Takes a valid copy of a part; lists it, and gaps for what is missing before it, as soon as it is its turn.
   *
   * @param media undefined when the upload says that the part does not exist
   * @throws {ProblemError} as {@link PartCandidates.offer}
   */
  storePart(rendition: LiveRendition, upload: PartUpload, media: MediaObject | undefined): PartOutcome {
    return this.#candidatesOf(rendition).offer(upload, media);
  }

  /** Keeps the cadence with gaps, from the newest part on. */
  startGaps(): void {
    this.#flushCandidates();
    this.#freshness.rest();
    if (this.#isEnded || this.#lead === undefined || this.#cadence !== undefined) return;
    const { position, atMs } = this.#lead;
    const from = { msn: position.msn, part: this.#lastCellOf(position) };
    this.#cadence = new GapCadence(this.#clock, this.#grid.cellMs, atMs, (cells) => {
      const due = this.#grid.advance(from, cells);
      const nowMs = this.#clock.monotonicMs();
      for (const rendition of this.#begun()) rendition.fillTo(due, nowMs);
      this.#lead = { position: due, atMs: atMs + cells * this.#grid.cellMs };
      this.#refreshAll();
    });
  }

  stopGaps(): void {
    this.#cadence?.stop();
    this.#cadence = undefined;
  }

  /** Stops every timer and changes nothing. */
  stop(): void {
    this.stopGaps();
    this.#freshness.rest();
    for (const candidates of this.#candidates.values()) candidates.close();
  }

  /** Adds EXT-X-ENDLIST everywhere and answers everybody. */
  end(): void {
    if (this.#isEnded) return;
    this.stopGaps();
    this.#flushCandidates();
    this.#freshness.rest();
    const nowMs = this.#clock.monotonicMs();
    for (const rendition of this.#begun()) rendition.closeOpen(nowMs);
    this.#isEnded = true;
    this.#refreshAll();
    this.#context.recorder?.ended();
  }

  /** The multivariant playlist as it is now; written again only when a segment has been completed. */
  multivariant(): RenderedPlaylist {
    if (this.#multivariant === undefined) {
      const text = writeMultivariantPlaylist(offerOf(this.#offered()));
      this.#multivariant = new RenderedPlaylist(text, this.#context.metrics);
      this.#context.metrics.renders.inc({ playlist: 'multivariant' });
    }
    return this.#multivariant;
  }

  #candidatesOf(rendition: LiveRendition): PartCandidates {
    let candidates = this.#candidates.get(rendition.id);
    if (candidates === undefined) {
      candidates = new PartCandidates(rendition, {
        clock: this.#clock,
        cellMs: this.#grid.cellMs,
        partTargetMs: this.#grid.partTargetMs,
        targetDurationMs: this.constants.targetDurationS * 1000,
        place: (candidate) => this.#place(rendition, candidate),
        placeGap: (position) => this.#placeGap(rendition, position),
        onWaitingBytes: (bytes) => this.#context.onWaitingBytes(bytes),
      });
      this.#candidates.set(rendition.id, candidates);
    }
    return candidates;
  }

  /** The timeline is over: what waits is listed, with gaps for what has not come. */
  #flushCandidates(): void {
    for (const candidates of this.#candidates.values()) candidates.flush();
    this.#candidates.clear();
  }

  /** @throws {ProblemError} as {@link placePart} */
  #place(rendition: LiveRendition, candidate: Candidate): PlacedOutcome {
    const segmentBefore = rendition.window.lastSegmentMsn;
    const nowMs = this.#clock.monotonicMs();
    const outcome = placePart(rendition, candidate.upload, candidate.media, this, nowMs);
    this.#context.onListed(rendition, candidate, outcome);
    if (outcome === 'stored' && comparePositions(candidate.upload, this.#lead?.position ?? BEFORE_ALL) > 0)
      this.#freshness.notePart();
    this.#afterListing(rendition, segmentBefore, nowMs);
    return outcome;
  }

  #onFreshness(isStale: boolean): void {
    const { metrics } = this.#context;
    if (isStale) metrics.staleStreams.inc();
    else metrics.staleStreams.dec();
    if (isStale) metrics.staleTurns.inc();
  }

  /** Answers whoever waits with what new requests are answered with. */
  #sendAway(): void {
    const { staleness } = this;
    if (staleness === undefined) return;
    this.waiters.fail(staleness, 'stale');
    for (const rendition of this.#renditions.values()) rendition.waiters.fail(staleness, 'stale');
  }

  #placeGap(rendition: LiveRendition, position: PartPosition): void {
    const segmentBefore = rendition.window.lastSegmentMsn;
    const nowMs = this.#clock.monotonicMs();
    rendition.fillTo(position, nowMs);
    this.#afterListing(rendition, segmentBefore, nowMs);
  }

  #afterListing(rendition: LiveRendition, segmentBefore: number, nowMs: number): void {
    if (rendition.window.lastSegmentMsn !== segmentBefore) this.#multivariant = undefined;
    this.#advanceLead(rendition.window.lastPart, nowMs);
    const changed = [rendition, ...this.#fillRetired(nowMs)];
    if (this.#becomesPlayable()) this.#refreshAll();
    else this.#refresh(changed);
  }

  #begun(): LiveRendition[] {
    return [...this.#renditions.values()].filter(({ window }) => window.lastPart !== undefined);
  }

  #advanceLead(position: PartPosition | undefined, atMs: number): void {
    const lead = laterPosition(this.#lead?.position, position);
    if (lead !== undefined && lead !== this.#lead?.position) this.#lead = { position: lead, atMs };
  }

  /** A part index from which the next one is a cell on: the end of its segment when that is complete. */
  #lastCellOf(position: PartPosition): number {
    const isComplete = this.#begun().some(({ window }) => window.lastSegmentMsn >= position.msn);
    return isComplete ? this.#grid.partsPerSegment - 1 : position.part;
  }

  /** Brings all renditions to the end of segment `msn`. */
  #closeUpTo(msn: number, anchorUtcMs: number, nowMs: number): void {
    if (this.#lead === undefined) return;
    const { position } = this.#lead;
    const begun = this.#begun();
    for (const rendition of begun) {
      rendition.fillTo(position, nowMs);
      rendition.closeOpen(nowMs);
    }
    // The gaps last as long as the media is missing, as far as their number allows.
    const missingMs = anchorUtcMs - (this.#listedEnd()?.utcMs ?? anchorUtcMs);
    const cells = Math.max(0, Math.round(missingMs / this.#grid.cellMs));
    for (const rendition of begun) rendition.padTo(msn, cells, nowMs);
    const lastPart = begun[0]?.window.lastPart;
    if (lastPart !== undefined) this.#lead = { position: lastPart, atMs: nowMs };
  }

  #listedEnd(): ListedEnd | undefined {
    let end: ListedEnd | undefined;
    for (const { window } of this.#renditions.values()) {
      const { newest } = window;
      if (newest !== undefined && newest.endUtcMs > (end?.utcMs ?? 0))
        end = { utcMs: newest.endUtcMs, segmentMs: newest.durationMs };
    }
    return end;
  }

  /** Those who still watch a rendition that is no longer made get gaps at the pace of the others. */
  #fillRetired(nowMs: number): LiveRendition[] {
    const lead = this.#lead?.position;
    if (lead === undefined) return [];
    const behind = this.#begun().filter(
      ({ isRetired, window }) => isRetired && comparePositions(window.next, lead) <= 0,
    );
    for (const rendition of behind) rendition.fillTo(lead, nowMs);
    return behind;
  }

  /** Whether this is the moment in which the presentation can be shown. */
  #becomesPlayable(): boolean {
    if (this.#isPlayable) return false;
    const made = [...this.#renditions.values()].filter(({ isRetired }) => !isRetired);
    this.#isPlayable =
      made.every(({ hasMedia }) => hasMedia) ||
      made.some(({ hasMedia, window }) => hasMedia && window.complete.length >= SEGMENTS_WITHOUT_LAGGARD);
    return this.#isPlayable;
  }

  #refreshAll(): void {
    this.#multivariant = undefined;
    this.#refresh([...this.#renditions.values()]);
    this.waiters.publish(this);
  }

  /** New versions first, in all that changed, then the waiters: nobody learns of a rendition what another denies. */
  #refresh(changed: readonly LiveRendition[]): void {
    for (const rendition of changed)
      rendition.refresh({
        renditionReports: this.#offered().flatMap((peer) =>
          peer.id === rendition.id ? [] : (peer.report ?? []),
        ),
        isPlayable: this.#isPlayable,
        isEnded: this.#isEnded,
      });
    for (const rendition of changed) rendition.wake();
  }

  /** Renditions that the multivariant playlist names. */
  #offered(): LiveRendition[] {
    return [...this.#renditions.values()].filter(({ hasMedia, isRetired }) => hasMedia && !isRetired);
  }
}
