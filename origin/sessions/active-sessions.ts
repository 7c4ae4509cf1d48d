import {
  HEARTBEAT_EXPIRY_MS,
  HEARTBEAT_INTERVAL_MS,
  type Heartbeat,
} from '#protocol/ingest/publish-session.ts';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { OpenSession } from '#origin/registry/publish-sessions-table.ts';

/** A session that is alive, as its owner changes it. */
export type ActiveSession = OpenSession & {
  /** Taken up after a restart and not heard of since. */
  unconfirmed: boolean;
  /** What the broadcaster sends, as far as it is known. */
  source: NonNullable<Heartbeat['source']> | null;
  reconnectWindowMs: number;
};

type Watched = {
  readonly session: ActiveSession;
  /** Monotonic ms of the last sign of life. */
  aliveMs: number;
  timer: Timer | undefined;
};

/** The sessions that are alive, at most one for each stream, each watched for its heartbeats. */
export class ActiveSessions {
  readonly #clock: Clock;
  readonly #onSilence: (session: ActiveSession) => void;
  readonly #byId = new Map<string, Watched>();
  readonly #byStream = new Map<string, Watched>();

  /** @param onSilence called when a session has missed its heartbeats; it is still there then */
  constructor(clock: Clock, onSilence: (session: ActiveSession) => void) {
    this.#clock = clock;
    this.#onSilence = onSilence;
  }

  get size(): number {
    return this.#byId.size;
  }

  get(sessionId: string): ActiveSession | undefined {
    return this.#byId.get(sessionId)?.session;
  }

  ofStream(streamId: string): ActiveSession | undefined {
    return this.#byStream.get(streamId)?.session;
  }

  values(): ActiveSession[] {
    return Array.from(this.#byId.values(), ({ session }) => session);
  }

  /** Begins to watch a session; its stream must have no other. */
  add(session: ActiveSession): void {
    const watched: Watched = { session, aliveMs: this.#clock.monotonicMs(), timer: undefined };
    this.#byId.set(session.sessionId, watched);
    this.#byStream.set(session.streamId, watched);
    this.#watch(watched, HEARTBEAT_EXPIRY_MS);
  }

  /** The session has given a sign of life. */
  touch(session: ActiveSession): void {
    const watched = this.#byId.get(session.sessionId);
    if (watched !== undefined) watched.aliveMs = this.#clock.monotonicMs();
  }

  remove(session: ActiveSession): void {
    this.#byId.get(session.sessionId)?.timer?.cancel();
    this.#byId.delete(session.sessionId);
    this.#byStream.delete(session.streamId);
  }

  /** Stops watching and forgets all. */
  clear(): void {
    for (const session of this.values()) this.remove(session);
  }

  #watch(watched: Watched, delayMs: number): void {
    const dueMs = this.#clock.monotonicMs() + delayMs;
    watched.timer = this.#clock.after(delayMs, () => {
      const nowMs = this.#clock.monotonicMs();
      // Called much too late, it is we who were away (a paused process): heartbeats may lie unread in the sockets.
      if (nowMs - dueMs > HEARTBEAT_INTERVAL_MS) return this.#watch(watched, HEARTBEAT_EXPIRY_MS);
      const silentMs = nowMs - watched.aliveMs;
      if (silentMs >= HEARTBEAT_EXPIRY_MS) return this.#onSilence(watched.session);
      return this.#watch(watched, HEARTBEAT_EXPIRY_MS - silentMs);
    });
  }
}
