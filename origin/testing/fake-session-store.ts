import type { PublishSessionStore } from '#origin/registry/publish-session-store.ts';
import type {
  OpenSession,
  PublishableStream,
  SessionProgress,
} from '#origin/registry/publish-sessions-table.ts';
import { DatabaseUnavailableError } from '#runtime/postgres/database-errors.ts';

/** A {@link PublishSessionStore} in memory, for tests that drive time by hand. */
export class FakeSessionStore implements PublishSessionStore {
  /** Stream key → what it opens. */
  readonly keys = new Map<string, PublishableStream>();
  readonly progress: SessionProgress[] = [];
  openSessions: OpenSession[] = [];
  /** Whether every call fails as it does without a database. */
  isAway = false;
  /** How often the database was asked for anything. */
  calls = 0;
  #nextToken = 1;

  addKey(streamKey: string, streamId: string, changes: Partial<PublishableStream> = {}): void {
    this.keys.set(streamKey, {
      streamId,
      tenantId: 'default',
      keyId: `key of ${streamKey}`,
      segmentDurationMs: 2_000,
      partDurationMs: 333,
      reconnectWindowS: 60,
      dvrWindowS: 0,
      retentionS: 0,
      ladder: {},
      lastMsn: 0,
      ...changes,
    });
  }

  async open(
    streamKey: string,
    _session: object,
    admit: (stream: PublishableStream) => void,
  ): Promise<{ stream: PublishableStream; fencingToken: number } | undefined> {
    await this.#answer();
    const stream = this.keys.get(streamKey);
    if (stream === undefined) return undefined;
    admit(stream);
    await this.#answer();
    return { stream, fencingToken: this.#nextToken++ };
  }

  async record(progress: readonly SessionProgress[]): Promise<void> {
    await this.#answer();
    this.progress.push(...progress);
  }

  async revoked(
    sessions: readonly { readonly sessionId: string; readonly keyId: string; readonly streamId: string }[],
  ): Promise<string[]> {
    await this.#answer();
    const valid = new Set(Array.from(this.keys.values(), ({ keyId, streamId }) => `${keyId} ${streamId}`));
    return sessions
      .filter(({ keyId, streamId }) => !valid.has(`${keyId} ${streamId}`))
      .map(({ sessionId }) => sessionId);
  }

  /** Open sessions that another origin looks after, by id; one that is taken up is removed. */
  readonly elsewhere = new Map<string, OpenSession>();
  /** Sessions that ended or were taken over by another origin. */
  readonly gone = new Set<string>();

  async takeUp(sessionId: string): Promise<OpenSession | undefined> {
    await this.#answer();
    const session = this.elsewhere.get(sessionId);
    this.elsewhere.delete(sessionId);
    return session;
  }

  async moved(sessionIds: readonly string[]): Promise<string[]> {
    await this.#answer();
    return sessionIds.filter((sessionId) => this.gone.has(sessionId));
  }

  async over(sessionIds: readonly string[]): Promise<{ sessionId: string; reason: string }[]> {
    return (await this.moved(sessionIds)).map((sessionId) => ({ sessionId, reason: 'lost' }));
  }

  async resume(): Promise<OpenSession[]> {
    await this.#answer();
    return this.openSessions;
  }

  async #answer(): Promise<void> {
    this.calls++;
    await new Promise((resolve) => setImmediate(resolve));
    if (this.isAway) throw new DatabaseUnavailableError('down', 'away');
  }
}
