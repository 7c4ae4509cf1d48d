import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import type { Database } from '#runtime/postgres/database.ts';
import type { LiveRecording } from '#origin/recording/live-recording.ts';
import type { RecordingMetrics } from '#origin/recording/recording-metrics.ts';
import { putPages, putRecording, type IndexPage } from '#origin/recording/recordings-table.ts';

export type IndexWriterDeps = {
  readonly database: Database;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: RecordingMetrics;
  readonly recordings: () => Iterable<LiveRecording>;
  /** Segments that the store and the database have. */
  readonly onWritten: (recording: LiveRecording, renditionId: string, msns: readonly number[]) => void;
  /** After every round that worked. */
  readonly onRound: () => void;
};

const INTERVAL_MS = 1_000;
/** Pages of one statement, and of one rendition in it. */
const PAGES_MAX = 256;
const RENDITION_PAGES_MAX = 16;

/** Brings the index to the database, once a second for all recordings together. What fails is written the next time. */
export class IndexWriter {
  readonly #deps: IndexWriterDeps;
  #timer: Timer | undefined;
  #running: Promise<void> = Promise.resolve();
  #isFailing = false;
  #closed = false;

  constructor(deps: IndexWriterDeps) {
    this.#deps = deps;
    this.#later();
  }

  /** Stops; what is not written is still in the spool. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#running;
    await this.write();
  }

  /** One round; never rejects. */
  async write(): Promise<void> {
    const { database, metrics, logger, onWritten, onRound } = this.#deps;
    try {
      const states = this.#dueStates();
      const pages = this.#duePages();
      if (states.length > 0 || pages.length > 0) {
        await database.run(async ({ sql }) => {
          for (const { recording, state } of states)
            await putRecording(sql, {
              ref: recording.ref,
              wish: recording.wish,
              beganAtMs: recording.beganAtMs,
              state,
            });
          if (pages.length > 0)
            await putPages(
              sql,
              pages.map(({ row }) => row),
            );
        });
        metrics.indexWrites.inc({ outcome: 'written' });
      }
      for (const { recording, state } of states) recording.stateWritten(state);
      for (const { recording, row, beforeMsn } of pages)
        onWritten(recording, row.renditionId, recording.rendition(row.renditionId).index.written(beforeMsn));
      if (this.#isFailing) logger.info('the index of recordings is written again');
      this.#isFailing = false;
      onRound();
    } catch (error) {
      metrics.indexWrites.inc({ outcome: 'failed' });
      if (!this.#isFailing) logger.warn({ err: error }, 'the index of recordings cannot be written');
      this.#isFailing = true;
    }
  }

  #later(): void {
    if (this.#closed) return;
    this.#timer = this.#deps.clock.after(INTERVAL_MS, () => {
      this.#running = this.write().finally(() => this.#later());
    });
  }

  #dueStates() {
    return [...this.#deps.recordings()].flatMap((recording) =>
      recording.isStateDue && recording.state !== undefined && !recording.isRemoved
        ? { recording, state: recording.state }
        : [],
    );
  }

  #duePages(): { recording: LiveRecording; row: IndexPage; beforeMsn: number }[] {
    const due: { recording: LiveRecording; row: IndexPage; beforeMsn: number }[] = [];
    for (const recording of this.#deps.recordings()) {
      if (recording.isRemoved) continue;
      for (const [renditionId, { index }] of recording.renditions)
        for (const { beforeMsn, ...page } of index.unwritten(RENDITION_PAGES_MAX)) {
          if (due.length >= PAGES_MAX) return due;
          due.push({ recording, row: { ref: recording.ref, renditionId, ...page }, beforeMsn });
        }
    }
    return due;
  }
}
