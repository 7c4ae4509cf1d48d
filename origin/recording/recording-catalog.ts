import type { Clock } from '#runtime/clock.ts';
import { DatabaseUnavailableError } from '#runtime/postgres/database-errors.ts';
import type { Database } from '#runtime/postgres/database.ts';
import { unavailable } from '#origin/recording/object-reads.ts';
import { recordingKey, type RecordingRef } from '#origin/recording/recording-place.ts';
import {
  findRecordings,
  newestPage,
  readEntries,
  type RecordingRow,
} from '#origin/recording/recordings-table.ts';
import { PAGE_SEGMENTS, pageOf, type SegmentEntry } from '#origin/recording/segment-entry.ts';

/** Recordings of one stream that are looked at; older ones are still listed by nobody and deleted in time. */
export const RECORDINGS_LISTED_MAX = 200;
const LIST_FRESH_MS = 2_000;
/** The index of what has ended does not change until it is deleted. */
const INDEX_FRESH_MS = 600_000;
const PAGE_FRESH_MS = 10_000;
const STREAMS_CACHED_MAX = 1_000;

type Cached<Value> = { readonly value: Promise<Value>; readonly untilMs: number; weight: number };

/** What the database knows of recordings, asked once for all who want the same, and remembered for a while. */
export class RecordingCatalog {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #entriesMax: number;
  readonly #lists = new Map<string, Cached<RecordingRow[]>>();
  readonly #indexes = new Map<string, Cached<SegmentEntry[]>>();
  #entries = 0;

  constructor(
    limits: { readonly cachedEntriesMax: number },
    deps: { readonly database: Database; readonly clock: Clock },
  ) {
    this.#database = deps.database;
    this.#clock = deps.clock;
    this.#entriesMax = limits.cachedEntriesMax;
  }

  /** A stream's recordings, newest first, without those that are to be deleted. @throws {ProblemError} 503 */
  async list(streamId: string): Promise<RecordingRow[]> {
    const nowMs = this.#clock.monotonicMs();
    let cached = this.#lists.get(streamId);
    if (cached === undefined || cached.untilMs <= nowMs) {
      const value = this.#ask(() =>
        this.#database.run(({ sql }) => findRecordings(sql, streamId, RECORDINGS_LISTED_MAX)),
      );
      cached = { value, untilMs: nowMs + LIST_FRESH_MS, weight: 1 };
      this.#lists.delete(streamId);
      this.#lists.set(streamId, cached);
      this.#forgetFailed(this.#lists, streamId, cached);
      for (const oldest of this.#lists.keys()) {
        if (this.#lists.size <= STREAMS_CACHED_MAX) break;
        this.#lists.delete(oldest);
      }
    }
    const wallMs = this.#clock.nowMs();
    return (await cached.value).filter(({ expiresAtMs }) => expiresAtMs === null || expiresAtMs > wallMs);
  }

  /** The whole index of a rendition of an ended recording. @throws {ProblemError} 503 */
  entries(ref: RecordingRef, renditionId: string): Promise<SegmentEntry[]> {
    return this.#index(`${recordingKey(ref)}/${renditionId}`, INDEX_FRESH_MS, () =>
      this.#database.run(({ sql }) => readEntries(sql, ref, renditionId, 0)),
    );
  }

  /** The newest pages of a rendition, of any recording. @throws {ProblemError} 503 */
  newest(ref: RecordingRef, renditionId: string, pages: number): Promise<SegmentEntry[]> {
    return this.#index(`${recordingKey(ref)}/${renditionId}/newest ${pages}`, LIST_FRESH_MS, () =>
      this.#database.run(async ({ sql }) => {
        const newest = await newestPage(sql, ref, renditionId);
        return readEntries(sql, ref, renditionId, newest - pages + 1);
      }),
    );
  }

  /** One segment of any recording. @throws {ProblemError} 503 */
  async entry(ref: RecordingRef, renditionId: string, msn: number): Promise<SegmentEntry | undefined> {
    const whole = this.#indexes.get(`${recordingKey(ref)}/${renditionId}`);
    const page = pageOf(msn);
    const entries =
      whole === undefined || whole.untilMs <= this.#clock.monotonicMs()
        ? await this.#index(`${recordingKey(ref)}/${renditionId}/${page}`, PAGE_FRESH_MS, () =>
            this.#database.run(({ sql }) => readEntries(sql, ref, renditionId, page, page)),
          )
        : await whole.value;
    return entries.find((entry) => entry.msn === msn);
  }

  /** Something about a stream's recordings has changed. */
  forget(streamId: string): void {
    this.#lists.delete(streamId);
    for (const key of this.#indexes.keys()) if (key.startsWith(`${streamId}/`)) this.#dropIndex(key);
  }

  #index(key: string, freshMs: number, read: () => Promise<SegmentEntry[]>): Promise<SegmentEntry[]> {
    const nowMs = this.#clock.monotonicMs();
    const known = this.#indexes.get(key);
    if (known !== undefined && known.untilMs > nowMs) return known.value;
    this.#dropIndex(key);
    const cached = { value: this.#ask(read), untilMs: nowMs + freshMs, weight: PAGE_SEGMENTS };
    this.#indexes.set(key, cached);
    this.#entries += cached.weight;
    this.#forgetFailed(this.#indexes, key, cached);
    cached.value.then(
      ({ length }) => {
        if (this.#indexes.get(key) !== cached) return;
        this.#entries += length - cached.weight;
        cached.weight = length;
        this.#keepLimit();
      },
      () => undefined,
    );
    return cached.value;
  }

  #keepLimit(): void {
    for (const oldest of this.#indexes.keys()) {
      if (this.#entries <= this.#entriesMax) return;
      this.#dropIndex(oldest);
    }
  }

  #dropIndex(key: string): void {
    this.#entries -= this.#indexes.get(key)?.weight ?? 0;
    this.#indexes.delete(key);
  }

  #forgetFailed<Value>(cache: Map<string, Cached<Value>>, key: string, cached: Cached<Value>): void {
    cached.value.catch(() => {
      if (cache.get(key) === cached) cache.delete(key);
    });
  }

  async #ask<Value>(question: () => Promise<Value>): Promise<Value> {
    try {
      return await question();
    } catch (error) {
      if (!(error instanceof DatabaseUnavailableError)) throw error;
      throw unavailable(
        'recording_unavailable',
        'The index of recordings cannot be read now; try again.',
        error,
      );
    }
  }
}
