import { Counter, Gauge } from 'prom-client';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { Disposable } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { SessionProgress } from '#origin/registry/publish-sessions-table.ts';

export type SessionJournalDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly write: (progress: readonly SessionProgress[]) => Promise<void>;
};

/** Sessions whose news may wait for the database; one more drops the oldest. */
export const JOURNAL_SESSIONS_MAX = 10_000;
const WRITE_DELAY_MS = 1_000;
const RETRY_DELAY_MAX_MS = 5_000;

/**
 * What is to be recorded about sessions, on its way to the database. Nobody waits for it: the news of a session are
 * merged, written together once a second, and kept while the database is away.
 */
export class SessionJournal implements Disposable {
  readonly #deps: SessionJournalDeps;
  readonly #pending = new Map<string, SessionProgress>();
  readonly #dropped: Counter;
  #timer: Timer | undefined;
  #writing: Promise<void> = Promise.resolve();
  #delayMs = WRITE_DELAY_MS;
  #closed = false;

  constructor(deps: SessionJournalDeps) {
    this.#deps = deps;
    const registers = [deps.metrics];
    this.#dropped = new Counter({
      name: 'origin_session_journal_dropped_total',
      help: 'Sessions whose news were dropped because too many waited for the database.',
      registers,
    });
    const size = (): number => this.#pending.size;
    new Gauge({
      name: 'origin_session_journal_pending',
      help: 'Sessions with news that are not in the database yet.',
      registers,
      collect() {
        this.set(size());
      },
    });
  }

  /** Remembers news of a session; a later value replaces an earlier one that was not written yet. */
  note(progress: SessionProgress): void {
    this.#pending.set(progress.sessionId, { ...this.#pending.get(progress.sessionId), ...progress });
    this.#dropOldest();
    if (!this.#closed) this.#timer ??= this.#deps.clock.after(this.#delayMs, () => void this.#tick());
  }

  /** Writes what is pending; resolves when it was tried. Never rejects: what could not be written stays pending. */
  flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  /** One last try. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.flush();
    if (this.#pending.size > 0)
      this.#deps.logger.warn({ sessions: this.#pending.size }, 'news of sessions were not recorded');
  }

  async #tick(): Promise<void> {
    await this.flush();
    this.#timer = undefined;
    if (this.#pending.size > 0 && !this.#closed)
      this.#timer = this.#deps.clock.after(this.#delayMs, () => void this.#tick());
  }

  async #write(): Promise<void> {
    const batch = [...this.#pending.values()];
    if (batch.length === 0) return;
    this.#pending.clear();
    try {
      await this.#deps.write(batch);
      this.#delayMs = WRITE_DELAY_MS;
    } catch (error) {
      this.#deps.logger.warn(
        { err: error, sessions: batch.length },
        'news of sessions wait for the database',
      );
      this.#delayMs = Math.min(this.#delayMs * 2, RETRY_DELAY_MAX_MS);
      // Older news first, what came in meanwhile over them.
      const since = [...this.#pending.values()];
      this.#pending.clear();
      for (const progress of [...batch, ...since])
        this.#pending.set(progress.sessionId, { ...this.#pending.get(progress.sessionId), ...progress });
      this.#dropOldest();
    }
  }

  #dropOldest(): void {
    for (const sessionId of this.#pending.keys()) {
      if (this.#pending.size <= JOURNAL_SESSIONS_MAX) return;
      this.#pending.delete(sessionId);
      this.#dropped.inc();
    }
  }
}
