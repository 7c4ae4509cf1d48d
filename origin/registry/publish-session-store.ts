import type { Clock } from '#runtime/clock.ts';
import type { Database } from '#runtime/postgres/database.ts';
import {
  endForgottenSessions,
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
  /** The sessions that an origin had when it was stopped or killed; all others are recorded as ended. */
  resume(): Promise<OpenSession[]>;
};

/** Sessions older than this are not taken up again after a restart. */
const RESUMED_AGE_MAX_MS = 7 * 24 * 60 * 60 * 1000;

/** {@link PublishSessionStore} on PostgreSQL. */
export class PostgresSessionStore implements PublishSessionStore {
  readonly #deps: { readonly database: Database; readonly keys: StreamKeys; readonly clock: Clock };

  constructor(deps: { readonly database: Database; readonly keys: StreamKeys; readonly clock: Clock }) {
    this.#deps = deps;
  }

  open(
    streamKey: string,
    session: { readonly sessionId: string; readonly remoteAddress: string; readonly startedAtMs: number },
    admit: (stream: PublishableStream) => void,
  ): Promise<{ stream: PublishableStream; fencingToken: number } | undefined> {
    const { database, keys, clock } = this.#deps;
    return database.transaction(async ({ sql }) => {
      const candidates = await lockKeys(sql, keys.possibleIds(streamKey), clock.nowMs());
      const found = candidates.find(({ digest }) => keys.matches(digest, streamKey));
      if (found === undefined) return undefined;
      const { digest: _, ...stream } = found;
      admit(stream);
      return { stream, fencingToken: await insertSession(sql, { ...session, stream }) };
    });
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
    const nowMs = this.#deps.clock.nowMs();
    return this.#deps.database.transaction(async ({ sql }) => {
      const sessions = await findOpenSessions(sql, nowMs - RESUMED_AGE_MAX_MS);
      await endForgottenSessions(
        sql,
        sessions.map(({ sessionId }) => sessionId),
        nowMs,
      );
      return sessions;
    });
  }
}
