import {
  asGap,
  endUtcMsOf,
  gapAfter,
  PAGE_SEGMENTS,
  pageOf,
  toRow,
  type SegmentEntry,
  type SegmentRow,
} from '#origin/recording/segment-entry.ts';

/** Newest segments whose parts are written to the index. */
const SEGMENTS_WITH_PARTS = 3;

/** `waiting`: on its way to the store. `stored`: there. `lost`: nowhere; listed as a gap. */
export type SegmentPlace = 'waiting' | 'stored' | 'lost';
type Indexed = { entry: SegmentEntry; place: SegmentPlace };

/**
 * What is known of the segments of one rendition, in one unbroken row of numbers. A part of it, up to the first segment
 * that waits, is to be written to the database in pages.
 */
export class RenditionIndex {
  #segments: Indexed[] = [];
  /** Everything before it is in the store, or lost. */
  #settledMsn = 0;
  /** Everything before it is in the database. */
  #writtenMsn = 0;

  /** The segments, oldest first. */
  get entries(): SegmentEntry[] {
    return this.#segments.map(({ entry }) => entry);
  }

  get newest(): SegmentEntry | undefined {
    return this.#segments.at(-1)?.entry;
  }

  get oldestMsn(): number {
    return this.#segments[0]?.entry.msn ?? Number.POSITIVE_INFINITY;
  }

  /** Whether the database has all of it. */
  get isWritten(): boolean {
    return this.#segments.length === 0 || this.#writtenMsn > (this.newest?.msn ?? 0);
  }

  find(msn: number): Indexed | undefined {
    const first = this.#segments[0];
    return first === undefined ? undefined : this.#segments[msn - first.entry.msn];
  }

  /** Adds the next segment; what is missing before it becomes gaps. Returns how many. */
  add(entry: SegmentEntry, place: SegmentPlace): number {
    let missing = 0;
    for (let { newest } = this; newest !== undefined && newest.msn + 1 < entry.msn; { newest } = this) {
      this.#segments.push({ entry: gapAfter(newest), place: 'lost' });
      missing += 1;
    }
    if (this.newest !== undefined && entry.msn <= this.newest.msn)
      throw new Error(`segment ${entry.msn} is indexed after ${this.newest.msn}`);
    if (this.#segments.length === 0) this.#settledMsn = this.#writtenMsn = entry.msn;
    this.#segments.push({ entry, place });
    this.#advance();
    return missing;
  }

  /** Takes over what the database has. */
  load(entries: readonly SegmentEntry[]): void {
    for (const entry of entries) this.add(entry, 'stored');
    this.#writtenMsn = this.#settledMsn;
  }

  settle(msn: number, place: 'stored' | 'lost'): void {
    const indexed = this.find(msn);
    if (indexed === undefined) return;
    indexed.place = place;
    if (place === 'lost') indexed.entry = asGap(indexed.entry);
    this.#advance();
  }

  /**
   * Pages that the database does not have as they are.
   *
   * @param pagesMax the oldest so many
   */
  unwritten(pagesMax: number): { page: number; untilMs: number; rows: SegmentRow[]; beforeMsn: number }[] {
    const pages = [];
    const lastPage = pageOf(this.#settledMsn - 1);
    const newestMsn = this.newest?.msn ?? 0;
    for (let page = pageOf(this.#writtenMsn); page <= lastPage && pages.length < pagesMax; page++) {
      const beforeMsn = Math.min((page + 1) * PAGE_SEGMENTS, this.#settledMsn);
      if (beforeMsn <= this.#writtenMsn) continue;
      const entries = this.#between(page * PAGE_SEGMENTS, beforeMsn);
      const last = entries.at(-1);
      if (last === undefined) continue;
      const rows = entries.map((entry) => toRow(entry, entry.msn > newestMsn - SEGMENTS_WITH_PARTS));
      pages.push({ page, untilMs: endUtcMsOf(last), rows, beforeMsn });
    }
    return pages;
  }

  /** The database has everything before `beforeMsn`. Returns the numbers that are new there. */
  written(beforeMsn: number): number[] {
    const entries = this.#between(this.#writtenMsn, beforeMsn);
    this.#writtenMsn = Math.max(this.#writtenMsn, beforeMsn);
    return entries.map(({ msn }) => msn);
  }

  /** Lets go of segments that ended before `utcMs`, in whole pages that the database has. */
  forgetBefore(utcMs: number): void {
    const writtenPage = pageOf(this.#writtenMsn);
    const keep = this.#segments.findIndex(
      ({ entry }) => endUtcMsOf(entry) >= utcMs || pageOf(entry.msn) >= writtenPage,
    );
    if (keep <= 0) return;
    const page = pageOf(this.#segments[keep]?.entry.msn ?? 0);
    const first = this.#segments.findIndex(({ entry }) => pageOf(entry.msn) === page);
    this.#segments = this.#segments.slice(first);
  }

  #between(fromMsn: number, beforeMsn: number): SegmentEntry[] {
    const first = this.#segments[0]?.entry.msn ?? 0;
    return this.#segments
      .slice(Math.max(0, fromMsn - first), Math.max(0, beforeMsn - first))
      .map(({ entry }) => entry);
  }

  #advance(): void {
    for (;;) {
      const indexed = this.find(this.#settledMsn);
      if (indexed === undefined || indexed.place === 'waiting') return;
      this.#settledMsn += 1;
    }
  }
}
