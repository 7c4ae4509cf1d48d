import type { Clock } from '#runtime/clock.ts';
import type { Database } from '#runtime/postgres/database.ts';
import { refuseOverLiveLimit } from '#origin/registry/live-limit.ts';
import { streamBusy } from '#origin/sessions/session-problems.ts';
import {
  endForgottenSessions,
  endOlderSessions,
  findMoved,
  findOver,
  isBusyElsewhere,
  moveSession,
  findOpenSessions,
  findRevoked,
  insertSession,
  lockKeys,
  recordProgress,
  type OpenSession,
  type PublishableStream,
  type SessionProgress,
} from '#origin/registry/publish-sessions-table.ts';
import type { StreamKeys } from '#origin/registry/stream-keys.ts';

/** What publish sessions need from the database; everything else about them is in memory. */
export type PublishSessionStore = {
  /**
   * Finds the stream of a key and opens a session on it. `admit` may refuse by throwing, then nothing is stored.
   *
   * @returns undefined when no stream has this key
   * @throws {ProblemError} 409 `stream_busy` when another origin looks after a session that is alive, 409
   * `tenant_live_exhausted` when its tenant publishes as many streams as it may
   * @throws {DatabaseUnavailableError}
   */
  open(
    streamKey: string,
    session: { readonly sessionId: string; readonly remoteAddress: string; readonly startedAtMs: number },
    admit: (stream: PublishableStream) => void,
  ): Promise<{ readonly stream: PublishableStream; readonly fencingToken: number } | undefined>;
  /** @throws {DatabaseUnavailableError} */
  record(progress: readonly SessionProgress[]): Promise<void>;
  /** Ids of those sessions whose key is not valid any more. @throws {DatabaseUnavailableError} */
  revoked(
    sessions: readonly { readonly sessionId: string; readonly keyId: string; readonly streamId: string }[],
  ): Promise<string[]>;
  /**
   * Takes over a session that another origin has looked after; undefined when no such session is open.
   *
   * @throws {DatabaseUnavailableError}
   */
  takeUp(sessionId: string): Promise<OpenSession | undefined>;
  /** Ids of those sessions that have ended or that another origin has taken over. @throws {DatabaseUnavailableError} */
  moved(sessionIds: readonly string[]): Promise<string[]>;
  /** Those of the sessions, wherever looked after, that are over. @throws {DatabaseUnavailableError} */
  over(sessionIds: readonly string[]): Promise<{ readonly sessionId: string; readonly reason: string }[]>;
  /** The sessions that an origin had when it was stopped or killed; all others are recorded as ended. */
  resume(): Promise<OpenSession[]>;
};

/** Sessions older than this are not taken up again after a restart. */
const RESUMED_AGE_MAX_MS = 7 * 24 * 60 * 60 * 1000;

/**
 * A session without a sign of life in the database for so long is over: heartbeats come every second, and are written
 * within another one.
 */
export const ALIVE_SILENCE_MS = 4_000;

export type SessionStoreDeps = {
  readonly database: Database;
  readonly keys: StreamKeys;
  readonly clock: Clock;
  /** Names this origin where several share the database. */
  readonly home?: string | undefined;
};

/** {@link PublishSessionStore} on PostgreSQL. */
export class PostgresSessionStore implements PublishSessionStore {
  readonly #deps: SessionStoreDeps;

  constructor(deps: SessionStoreDeps) {
    this.#deps = deps;
  }

  open(
    streamKey: string,
    session: { readonly sessionId: string; readonly remoteAddress: string; readonly startedAtMs: number },
    admit: (stream: PublishableStream) => void,
  ): Promise<{ stream: PublishableStream; fencingToken: number } | undefined> {
    const { database, keys, clock, home } = this.#deps;
    return database.transaction(async ({ sql }) => {
      const candidates = await lockKeys(sql, keys.possibleIds(streamKey), clock.nowMs());
      const found = candidates.find(({ digest }) => keys.matches(digest, streamKey));
      if (found === undefined) return undefined;
      const { digest: _, ...stream } = found;
      if (home !== undefined && (await isBusyElsewhere(sql, stream.streamId, home, ALIVE_SILENCE_MS)))
        throw streamBusy();
      admit(stream);
      await refuseOverLiveLimit(sql, stream, home === undefined ? undefined : ALIVE_SILENCE_MS);
      const fencingToken = await insertSession(sql, { ...session, stream, home });
      if (home !== undefined) await endOlderSessions(sql, stream.streamId, session.sessionId, clock.nowMs());
      return { stream, fencingToken };
    });
  }

  takeUp(sessionId: string): Promise<OpenSession | undefined> {
    const { database, home } = this.#deps;
    if (home === undefined) return Promise.resolve(undefined);
    return database.run(({ sql }) => moveSession(sql, sessionId, home));
  }

  moved(sessionIds: readonly string[]): Promise<string[]> {
    const { database, home } = this.#deps;
    if (home === undefined || sessionIds.length === 0) return Promise.resolve([]);
    return database.run(({ sql }) => findMoved(sql, sessionIds, home));
  }

  over(sessionIds: readonly string[]): Promise<{ sessionId: string; reason: string }[]> {
    if (sessionIds.length === 0) return Promise.resolve([]);
    return this.#deps.database.run(({ sql }) => findOver(sql, sessionIds, ALIVE_SILENCE_MS));
  }

  async record(progress: readonly SessionProgress[]): Promise<void> {
    await this.#deps.database.run(({ sql }) => recordProgress(sql, progress));
  }

  revoked(
    sessions: readonly { readonly sessionId: string; readonly keyId: string; readonly streamId: string }[],
  ): Promise<string[]> {
    return this.#deps.database.run(({ sql }) => findRevoked(sql, sessions, this.#deps.clock.nowMs()));
  }

  resume(): Promise<OpenSession[]> {
    const { clock, home, database } = this.#deps;
    const nowMs = clock.nowMs();
    return database.transaction(async ({ sql }) => {
      const sessions = await findOpenSessions(sql, nowMs - RESUMED_AGE_MAX_MS, home);
      await endForgottenSessions(
        sql,
        sessions.map(({ sessionId }) => sessionId),
        nowMs,
        home,
      );
      return sessions;
    });
  }
}
