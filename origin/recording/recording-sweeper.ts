import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import type { ObjectStore } from '#runtime/objects/object-store.ts';
import { OBJECT_KEYS_PER_CALL_MAX } from '#runtime/objects/object-store.ts';
import type { Database } from '#runtime/postgres/database.ts';
import type { RecordingMetrics } from '#origin/recording/recording-metrics.ts';
import { recordingPrefix, segmentKey, type RecordingRef } from '#origin/recording/recording-place.ts';
import { RECORDING_MS_MAX } from '#origin/recording/recording-settings.ts';
import {
  deletePage,
  deleteRecording,
  endAbandoned,
  expireOrphans,
  findExpired,
  findOutdatedPages,
} from '#origin/recording/recordings-table.ts';

export type RecordingSweeperDeps = {
  readonly database: Database;
  readonly store: Pick<ObjectStore, 'list' | 'delete'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: RecordingMetrics;
  /** Told of every recording whose objects are gone. */
  readonly onDeleted: (ref: RecordingRef) => void;
};

const INTERVAL_MS = 10_000;
/** Longer than any reconnect window. */
const ABANDONED_MS = 3_600_000;
const RECORDINGS_PER_ROUND = 20;
const PAGES_PER_ROUND = 200;

/**
 * Deletes what is no longer to be kept: recordings of deleted streams, those whose retention is over, and the oldest
 * segments of those that go on. The database says what is due and forgets it when the objects are gone, so a round that
 * fails, or a crash, is made good by the next one.
 */
export class RecordingSweeper {
  readonly #deps: RecordingSweeperDeps;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(deps: RecordingSweeperDeps) {
    this.#deps = deps;
    this.#later(INTERVAL_MS);
  }

  /** Something is due now. */
  soon(): void {
    this.#timer?.cancel();
    this.#later(100);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#running;
  }

  /** One round. @throws {DatabaseUnavailableError} @throws {ObjectStoreError} */
  async sweep(): Promise<void> {
    const { database, clock } = this.#deps;
    const nowMs = clock.nowMs();
    await database.run(({ sql }) => expireOrphans(sql));
    await database.run(({ sql }) => endAbandoned(sql, nowMs, nowMs - ABANDONED_MS));
    const expired = await database.run(({ sql }) => findExpired(sql, nowMs, RECORDINGS_PER_ROUND));
    for (const ref of expired) await this.#delete(ref);
    await this.#trim();
  }

  async #delete(ref: RecordingRef): Promise<void> {
    const { store, database, metrics, logger, onDeleted } = this.#deps;
    for (;;) {
      if (this.#closed) return;
      const keys = await store.list(recordingPrefix(ref), OBJECT_KEYS_PER_CALL_MAX);
      if (keys.length === 0) break;
      await store.delete(keys);
      metrics.deletedObjects.inc(keys.length);
    }
    await database.run(({ sql }) => deleteRecording(sql, ref));
    logger.info({ ...ref }, 'recording deleted');
    onDeleted(ref);
  }

  async #trim(): Promise<void> {
    const { store, database, metrics, clock } = this.#deps;
    const pages = await database.run(({ sql }) =>
      findOutdatedPages(sql, clock.nowMs(), RECORDING_MS_MAX, PAGES_PER_ROUND),
    );
    for (const { ref, renditionId, page, msns } of pages) {
      if (this.#closed) return;
      await store.delete(msns.map((msn) => segmentKey(ref, renditionId, msn)));
      metrics.deletedObjects.inc(msns.length);
      await database.run(({ sql }) => deletePage(sql, ref, renditionId, page));
    }
  }

  #later(delayMs: number): void {
    if (this.#closed) return;
    this.#timer = this.#deps.clock.after(delayMs, () => {
      if (this.#running !== undefined) return;
      this.#running = this.sweep()
        .catch((error: unknown) => {
          this.#deps.metrics.deleteFailures.inc();
          this.#deps.logger.debug({ err: error }, 'deleting recordings was put off');
        })
        .finally(() => {
          this.#running = undefined;
          this.#later(INTERVAL_MS);
        });
    });
  }
}
