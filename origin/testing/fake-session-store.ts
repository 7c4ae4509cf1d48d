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
