import { Counter } from 'prom-client';
import { END_REASONS, HEARTBEAT_EXPIRY_MS } from '#protocol/ingest/publish-session.ts';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { Disposable } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { DatabaseUnavailableError } from '#runtime/postgres/database-errors.ts';
import type { LiveStreams, SessionEndReason } from '#origin/live/live-streams.ts';
import type { PublishSessionStore } from '#origin/registry/publish-session-store.ts';
import type { PublishSessions } from '#origin/sessions/publish-sessions.ts';
import type { DirectoryEntry } from '#origin/registry/streams-table.ts';
import type { StreamDirectory } from '#origin/sessions/stream-directory.ts';

export type ClusterUpkeepDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly live: LiveStreams;
  readonly sessions: Pick<PublishSessions, 'has'>;
  readonly store: Pick<PublishSessionStore, 'over'>;
  readonly directory: StreamDirectory;
  /** All streams that exist. */
  readonly streams: () => Promise<readonly DirectoryEntry[]>;
};

export const SESSION_CHECK_MS = 1_000;
export const DIRECTORY_CHECK_MS = 5_000;

/**
 * What an origin finds out from the database because another one may not have said it: that the session of a stream held
 * here is over (whoever looked after it may have died with its broadcaster), and which streams exist.
 */
export class ClusterUpkeep implements Disposable {
  readonly #deps: ClusterUpkeepDeps;
  readonly #failures: Counter<'what'>;
  #sessionTimer: Timer | undefined;
  #directoryTimer: Timer | undefined;
  #closed = false;

  constructor(deps: ClusterUpkeepDeps) {
    this.#deps = deps;
    this.#failures = new Counter({
      name: 'origin_cluster_upkeep_failures_total',
      help: 'Looks into the database about other origins’ doings that failed: sessions, directory.',
      labelNames: ['what'],
      registers: [deps.metrics],
    });
    this.#checkSessionsLater();
    this.#checkDirectoryLater();
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#sessionTimer?.cancel();
    this.#directoryTimer?.cancel();
    return Promise.resolve();
  }

  #checkSessionsLater(): void {
    if (this.#closed) return;
    this.#sessionTimer = this.#deps.clock.after(SESSION_CHECK_MS, () => {
      void this.#attempt('sessions', () => this.#checkSessions()).then(() => this.#checkSessionsLater());
    });
  }

  #checkDirectoryLater(): void {
    if (this.#closed) return;
    this.#directoryTimer = this.#deps.clock.after(DIRECTORY_CHECK_MS, () => {
      void this.#attempt('directory', () => this.#checkDirectory()).then(() => this.#checkDirectoryLater());
    });
  }

  async #attempt(what: string, check: () => Promise<void>): Promise<void> {
    try {
      await check();
    } catch (error) {
      this.#failures.inc({ what });
      if (!(error instanceof DatabaseUnavailableError))
        this.#deps.logger.error({ err: error, what }, 'a look into the database failed');
    }
  }

  /** Only sessions whose parts have stopped: right after the database was away, all of them look silent in it. */
  async #checkSessions(): Promise<void> {
    const { clock, live, sessions, store } = this.#deps;
    const nowMs = clock.monotonicMs();
    const silent = new Map<string, string>();
    for (const { id, writer, lastPartAtMs, status } of live.list()) {
      const isSilent = lastPartAtMs === undefined || nowMs - lastPartAtMs > HEARTBEAT_EXPIRY_MS;
      if (status.state === 'live' && isSilent && writer !== undefined && !sessions.has(writer.sessionId))
        silent.set(writer.sessionId, id);
    }
    for (const { sessionId, reason } of await store.over([...silent.keys()])) {
      const streamId = silent.get(sessionId);
      if (streamId !== undefined && !this.#closed) live.sessionEnded(streamId, sessionId, toReason(reason));
    }
  }

  async #checkDirectory(): Promise<void> {
    const { directory, live, streams } = this.#deps;
    // One that was made while the list was on its way is not to be forgotten.
    const before = new Set(directory.ids());
    const found = await streams();
    if (this.#closed) return;
    const existing = new Set(found.map(({ id }) => id));
    for (const stream of found) directory.put(stream);
    for (const id of before) {
      if (existing.has(id)) continue;
      directory.delete(id);
      live.remove(id);
    }
  }
}

function toReason(reason: string): SessionEndReason {
  return END_REASONS.find((known) => known === reason) ?? 'lost';
}
