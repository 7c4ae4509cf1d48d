import {
  LiveSegment,
  type InitSection,
  type LivePart,
  type MediaKind,
  type SegmentOrigin,
} from '#origin/live/live-segment.ts';
import { comparePositions, type PartPosition } from '#origin/live/part-position.ts';
import type { TimelineGrid } from '#origin/live/timeline-grid.ts';

/** A timeline as one rendition sees it. */
export type RenditionTimeline = {
  readonly grid: TimelineGrid;
  readonly kind: MediaKind;
  /** Ticks per second of the rendition. */
  readonly timescale: number;
  /** Wall clock of media time 0, fractional ms since the Unix epoch. */
  readonly startUtcMs: number;
  /** Counts the timelines of the playlist. */
  readonly discontinuityNumber: number;
};

/** How much a playlist lists. */
export type WindowLength = {
  readonly durationMs: number;
  /** Never fewer complete segments than this. */
  readonly segmentsMin: number;
};

/** Complete segments, from the newest back, that are listed with their parts. @spec rfc8216bis §6.2.2 */
export const SEGMENTS_WITH_PARTS = 2;

/**
 * The listed segments of one rendition, in one unbroken row of numbers: the complete ones and the open one. It knows
 * where the next part goes and fills what is missing with gaps; it knows nothing of time, waiters or text.
 */
export class SegmentWindow {
  readonly #length: WindowLength;
  readonly #complete: LiveSegment[] = [];
  #timeline: RenditionTimeline;
  #init: InitSection | undefined;
  #open: LiveSegment | undefined;
  #nextMsn: number;
  #begun = false;
  #completeMs = 0;

  constructor(length: WindowLength, timeline: RenditionTimeline) {
    this.#length = length;
    this.#timeline = timeline;
    this.#nextMsn = timeline.grid.firstMsn;
  }

  /** Complete segments, oldest first. */
  get complete(): readonly LiveSegment[] {
    return this.#complete;
  }

  /** The segment under way; there is one only when it has a part. */
  get open(): LiveSegment | undefined {
    return this.#open;
  }

  get timeline(): RenditionTimeline {
    return this.#timeline;
  }

  /** Where the next part goes. */
  get next(): PartPosition {
    return { msn: this.#open?.msn ?? this.#nextMsn, part: this.#open?.parts.length ?? 0 };
  }

  /** The newest part; undefined before the first. */
  get lastPart(): PartPosition | undefined {
    const { newest } = this;
    return newest === undefined ? undefined : { msn: newest.msn, part: newest.parts.length - 1 };
  }

  /** MSN of the newest complete segment; one less than the first when there is none yet. */
  get lastSegmentMsn(): number {
    return this.next.msn - 1;
  }

  /** The segment of the newest part; undefined before the first. */
  get newest(): LiveSegment | undefined {
    return this.#open ?? this.#complete.at(-1);
  }

  /** Length of the playlist, the open segment included; fractional ms. */
  get listedMs(): number {
    return this.#completeMs + (this.#open?.durationMs ?? 0);
  }

  /** A listed segment by its number, the open one included. */
  find(msn: number): LiveSegment | undefined {
    const oldest = this.#complete[0];
    if (oldest === undefined || msn > (this.#complete.at(-1)?.msn ?? 0))
      return this.#open?.msn === msn ? this.#open : undefined;
    return this.#complete[msn - oldest.msn];
  }

  /** The init segment that the next segment will need. */
  useInit(init: InitSection): void {
    this.#init = init;
  }

  /**
   * Goes over to another timeline, whose first segment is to be the next one.
   *
   * @throws when the numbers do not join up
   */
  begin(timeline: RenditionTimeline): void {
    if (this.#open !== undefined)
      throw new Error(`segment ${this.#open.msn} is open where a timeline begins`);
    if (this.#begun && this.#nextMsn !== timeline.grid.firstMsn)
      throw new Error(`a timeline begins at ${timeline.grid.firstMsn}, ${this.#nextMsn} is next`);
    this.#timeline = timeline;
    this.#nextMsn = timeline.grid.firstMsn;
  }

  /**
   * Takes over what another process has listed. Only before the first part.
   *
   * @param complete in one row of numbers, oldest first
   */
  restore(complete: readonly LiveSegment[], open: LiveSegment | undefined): void {
    for (const segment of complete) {
      this.#complete.push(segment);
      this.#completeMs += segment.durationMs;
      this.#nextMsn = segment.msn + 1;
    }
    this.#open = open;
    this.#begun = this.newest !== undefined;
  }

  /** Begins later than the timeline does, for a rendition that comes late. Only before the first part. */
  skipTo(msn: number): void {
    if (this.#begun) throw new Error('a rendition that has begun cannot skip numbers');
    this.#nextMsn = msn;
  }

  /**
   * Adds the next part.
   *
   * @param startTicks media time of its first sample; undefined for a gap
   * @param last closes the segment, though it may have fewer parts than the grid says
   * @param nowMs monotonic
   */
  append(part: LivePart, startTicks: number | undefined, last: boolean, nowMs: number): void {
    this.#open ??= new LiveSegment(this.#originOf(this.#nextMsn, startTicks));
    this.#begun = true;
    this.#open.add(part);
    if (last || this.#open.parts.length >= this.#timeline.grid.partsPerSegment) this.closeOpen(nowMs);
  }

  /** Lists gaps up to a place and including it. Returns how many. */
  fillTo(position: PartPosition, nowMs: number): number {
    let filled = 0;
    for (; comparePositions(this.next, position) <= 0; filled++) this.#appendGap(nowMs);
    return filled;
  }

  /**
   * Lists whole gap segments up to `msn` and including it: `cells` parts in all as far as that is possible with at least
   * one and at most a whole segment's worth in each. Returns how many parts.
   */
  padTo(msn: number, cells: number, nowMs: number): number {
    let padded = 0;
    while (this.next.msn <= msn) {
      const mostHere = cells - padded - (msn - this.next.msn);
      const count = Math.max(1, Math.min(this.#timeline.grid.partsPerSegment, mostHere));
      for (let cell = 0; cell < count; cell++) this.#appendGap(nowMs);
      this.closeOpen(nowMs);
      padded += count;
    }
    return padded;
  }

  /** Completes the open segment, if there is one. */
  closeOpen(nowMs: number): void {
    if (this.#open === undefined) return;
    this.#open.complete(nowMs);
    this.#complete.push(this.#open);
    this.#completeMs += this.#open.durationMs;
    this.#nextMsn = this.#open.msn + 1;
    this.#open = undefined;
  }

  /** Takes the oldest segments out of the list that it can do without. */
  evict(): LiveSegment[] {
    const evicted: LiveSegment[] = [];
    for (;;) {
      const segment = this.evictOldest(this.#length.durationMs);
      if (segment === undefined) return evicted;
      evicted.push(segment);
    }
  }

  /** Takes the oldest segment out if `leastMs` of complete segments and the least number of them stay. */
  evictOldest(leastMs: number): LiveSegment | undefined {
    const first = this.#complete[0];
    if (first === undefined || this.#complete.length <= this.#length.segmentsMin) return undefined;
    if (this.#completeMs - first.durationMs < leastMs) return undefined;
    this.#completeMs -= first.durationMs;
    return this.#complete.shift();
  }

  #appendGap(nowMs: number): void {
    const { grid, timescale } = this.#timeline;
    const roomTicks = grid.segmentTicksMax(timescale) - (this.#open?.durationTicks ?? 0);
    const ticks = Math.max(1, Math.min(grid.gapTicks(this.next.part, timescale), roomTicks));
    this.append({ durationTicks: ticks, independent: false, media: undefined }, undefined, false, nowMs);
  }

  #originOf(msn: number, startTicks: number | undefined): SegmentOrigin {
    const { grid, kind, timescale, startUtcMs, discontinuityNumber } = this.#timeline;
    const previous = this.#complete.at(-1);
    const discontinuity = msn === grid.firstMsn && previous !== undefined;
    const mediaMs = startTicks === undefined ? grid.segmentStartMs(msn) : (startTicks * 1000) / timescale;
    // A gap goes on where the segment before it ended, which need not be where the grid says.
    const follows = startTicks === undefined && previous !== undefined && !discontinuity;
    return {
      msn,
      kind,
      timescale,
      discontinuity,
      discontinuityNumber,
      init: this.#init,
      startUtcMs: follows ? previous.endUtcMs : startUtcMs + mediaMs,
    };
  }
}
