import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import { DatabaseUnavailableError } from '#runtime/postgres/database-errors.ts';
import type { PublishSessionStore } from '#origin/registry/publish-session-store.ts';
import type { LiveWindow, PublishSessions } from '#origin/sessions/publish-sessions.ts';
import type { SessionJournal } from '#origin/sessions/session-journal.ts';

export type SessionUpkeepDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly sessions: PublishSessions;
  readonly store: Pick<PublishSessionStore, 'revoked'>;
  readonly journal: SessionJournal;
  readonly live: Pick<LiveWindow, 'status'>;
};

/** A revoked key ends its publish within 5 s also where the revocation was not made by this process. */
export const REVOCATION_CHECK_MS = 2_000;
export const PROGRESS_INTERVAL_MS = 10_000;

/**
 * What goes on beside the heartbeats: looks whether the keys of the running sessions are still valid, one statement for
 * all of them, and passes how far their numbers have come to the journal.
 */
export class SessionUpkeep {
  readonly #deps: SessionUpkeepDeps;
  /** By stream: the newest session and what was recorded of it. Kept while the stream has a playlist that grows. */
  readonly #recorded = new Map<string, { sessionId: string; lastMsn: number }>();
  #revocationTimer: Timer | undefined;
  #progressTimer: Timer | undefined;
  #closed = false;

  constructor(deps: SessionUpkeepDeps) {
    this.#deps = deps;
    this.#checkLater();
    this.#recordLater();
  }

  close(): void {
    this.#closed = true;
    this.#revocationTimer?.cancel();
    this.#progressTimer?.cancel();
  }

  #checkLater(): void {
    if (!this.#closed)
      this.#revocationTimer = this.#deps.clock.after(REVOCATION_CHECK_MS, () => void this.#check());
  }

  async #check(): Promise<void> {
    const { sessions, store, logger } = this.#deps;
    const running = sessions.list();
    try {
      const revoked = running.length === 0 ? [] : await store.revoked(running);
      for (const sessionId of this.#closed ? [] : revoked) sessions.revoke(sessionId);
      await sessions.forgetMoved();
    } catch (error) {
      // Without the database nobody can revoke anything either; the next round will see it.
      if (!(error instanceof DatabaseUnavailableError))
        logger.error({ err: error }, 'keys cannot be checked');
    }
    this.#checkLater();
  }

  #recordLater(): void {
    this.#progressTimer = this.#deps.clock.after(PROGRESS_INTERVAL_MS, () => {
      this.record();
      this.#recordLater();
    });
  }

  /** Notes the newest numbers of every stream; the playlist of a broadcaster that has gone grows too, by gaps. */
  record(): void {
    const { sessions, journal, live } = this.#deps;
    const running = sessions.list();
    for (const { streamId, sessionId } of running)
      if (this.#recorded.get(streamId)?.sessionId !== sessionId)
        this.#recorded.set(streamId, { sessionId, lastMsn: 0 });
    const publishing = new Set(running.map(({ streamId }) => streamId));
    for (const [streamId, recorded] of this.#recorded) {
      const status = live.status(streamId);
      if (status !== undefined && status.lastMsn > recorded.lastMsn) {
        recorded.lastMsn = status.lastMsn;
        journal.note({ sessionId: recorded.sessionId, lastMsn: status.lastMsn });
      }
      const grows = publishing.has(streamId) || status?.state === 'reconnecting';
      if (!grows) this.#recorded.delete(streamId);
    }
  }
}
