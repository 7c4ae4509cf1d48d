import { randomUUID } from 'node:crypto';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { LiveWindow, PublishSessions } from '#origin/sessions/publish-sessions.ts';
import type { StreamDirectory } from '#origin/sessions/stream-directory.ts';
import type { WebhookEvent, WebhookEventType } from '#origin/webhooks/webhook-event.ts';

export type StreamWatchDeps = {
  readonly clock: Clock;
  readonly sessions: Pick<PublishSessions, 'list' | 'status'>;
  readonly live: Pick<LiveWindow, 'status'>;
  readonly directory: Pick<StreamDirectory, 'tenantOf' | 'nameOf'>;
  readonly onEvent: (event: WebhookEvent) => void;
};

/** How often the streams are looked at: an event is seen within this time. */
export const WATCH_INTERVAL_MS = 500;

type Watched = {
  readonly tenantId: string;
  /** The session that was live last; or, before that, the newest. */
  sessionId: string;
  state: 'waiting' | 'live' | 'reconnecting';
  name: string;
  timelines: number;
};

/**
 * Sees from memory when streams go live, wait for their broadcaster, or end: those whose session this origin looks after,
 * until they end or another origin takes them over.
 */
export class StreamWatch {
  readonly #deps: StreamWatchDeps;
  readonly #watched = new Map<string, Watched>();
  #timer: Timer | undefined;

  constructor(deps: StreamWatchDeps) {
    this.#deps = deps;
    this.#later();
  }

  close(): void {
    this.#timer?.cancel();
  }

  /** Looks at every stream once. */
  look(): void {
    const { sessions, directory } = this.#deps;
    const running = new Map(sessions.list().map(({ streamId, sessionId }) => [streamId, sessionId]));
    for (const [streamId, sessionId] of running) {
      const tenantId = directory.tenantOf(streamId);
      if (tenantId === undefined || this.#watched.has(streamId)) continue;
      this.#watched.set(streamId, {
        tenantId,
        sessionId,
        state: 'waiting',
        name: directory.nameOf(streamId),
        timelines: 0,
      });
    }
    for (const [streamId, watched] of this.#watched) {
      const sessionId = running.get(streamId);
      if (sessionId !== undefined) this.#lookAtRunning(streamId, watched, sessionId);
      else this.#lookAtEnded(streamId, watched);
    }
  }

  #lookAtRunning(streamId: string, watched: Watched, sessionId: string): void {
    const { live, directory } = this.#deps;
    const status = live.status(streamId);
    const isOther = watched.sessionId !== sessionId;
    if (status?.state === 'live') {
      if (isOther && watched.state === 'live') this.#emit('stream.reconnecting', streamId, watched);
      const isNew = isOther || watched.state !== 'live';
      watched.sessionId = sessionId;
      watched.state = 'live';
      watched.name = directory.nameOf(streamId);
      if (isNew) this.#emit('stream.live', streamId, watched);
      else if (status.timelines > watched.timelines) this.#emit('stream.failover', streamId, watched);
      watched.timelines = status.timelines;
      return;
    }
    if (status?.state === 'reconnecting') this.#wait(streamId, watched, isOther);
    else if (watched.state !== 'waiting') {
      // Its playlist has ended; the new session begins another one.
      this.#emit('stream.ended', streamId, watched);
      watched.state = 'waiting';
    }
    if (watched.state === 'waiting') watched.sessionId = sessionId;
  }

  #lookAtEnded(streamId: string, watched: Watched): void {
    const { live, sessions } = this.#deps;
    const status = live.status(streamId);
    // The last parts of a session are still taken after its end.
    if (status?.state === 'live' && sessions.status(streamId) === undefined) return;
    if (sessions.status(streamId) !== undefined) {
      this.#watched.delete(streamId);
      return;
    }
    if (status?.state === 'reconnecting') return this.#wait(streamId, watched, true);
    if (watched.state !== 'waiting') this.#emit('stream.ended', streamId, watched);
    this.#watched.delete(streamId);
  }

  /** @param isOver whether the session that was live has ended, or is not known to have been live at all */
  #wait(streamId: string, watched: Watched, isOver: boolean): void {
    if (watched.state === 'live') this.#emit('stream.reconnecting', streamId, watched);
    if (watched.state !== 'waiting' || isOver) watched.state = 'reconnecting';
  }

  #emit(type: WebhookEventType, streamId: string, watched: Watched): void {
    const { tenantId, sessionId, name } = watched;
    const data = { streamId, name, sessionId };
    const occurrence =
      type === 'stream.failover'
        ? `encoder ${sessionId} ${randomUUID()}`
        : `${type.slice('stream.'.length)} ${sessionId}`;
    this.#deps.onEvent({
      type,
      tenantId,
      streamId,
      atMs: this.#deps.clock.nowMs(),
      occurrence,
      data: type === 'stream.failover' ? { ...data, part: 'encoder' } : data,
    });
  }

  #later(): void {
    this.#timer = this.#deps.clock.after(WATCH_INTERVAL_MS, () => {
      this.look();
      this.#later();
    });
  }
}
