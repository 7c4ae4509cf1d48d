import { randomUUID } from 'node:crypto';
import { Counter, Gauge } from 'prom-client';
import {
  HEARTBEAT_EXPIRY_MS,
  HEARTBEAT_INTERVAL_MS,
  PUBLISH_ERROR_CODES,
  type EndRequest,
  type Heartbeat,
  type PublishGrant,
  type PublishRequest,
  type TimelineGrant,
  type TimelineRequest,
} from '#protocol/ingest/publish-session.ts';
import type { Clock, Timer } from '#runtime/clock.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { LiveStreams, SessionEndReason } from '#origin/live/live-streams.ts';
import type { PublishSessionStore } from '#origin/registry/publish-session-store.ts';
import type { OpenSession } from '#origin/registry/publish-sessions-table.ts';
import type { StreamRecord } from '#origin/registry/stream-record.ts';
import type { FailedAuthorisations } from '#origin/sessions/failed-authorisations.ts';
import type { SessionJournal } from '#origin/sessions/session-journal.ts';

/** What sessions tell the live window. */
export type LiveWindow = Pick<LiveStreams, 'beginTimeline' | 'sessionEnded' | 'remove' | 'status'>;

export type PublishSessionsDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly store: PublishSessionStore;
  readonly journal: SessionJournal;
  readonly failures: FailedAuthorisations;
  readonly live: LiveWindow;
};

/** A session as the API shows it. */
export type SessionStatus = {
  readonly sessionId: string;
  readonly startedAtMs: number;
  readonly remoteAddress: string;
  /** What the broadcaster sends, as far as it is known. */
  readonly source: NonNullable<Heartbeat['source']> | null;
};

type Session = OpenSession & {
  /** Monotonic ms of the last sign of life. */
  aliveMs: number;
  /** Taken up after a restart and not heard of since. */
  unconfirmed: boolean;
  source: SessionStatus['source'];
  reconnectWindowMs: number;
  timer: Timer | undefined;
};

/** How far the ingest's clock may be from ours; a wilder anchor would make media sequence numbers jump for good. */
const ANCHOR_SKEW_MAX_MS = 60 * 60 * 1000;

/**
 * Who may publish, and who does. The database is asked once, when a broadcaster comes; from then on a session lives in
 * memory and the database is only told. One publisher per stream; one that is silent for 3 s has gone.
 */
export class PublishSessions {
  readonly #liveWindowMs: number;
  readonly #deps: PublishSessionsDeps;
  readonly #byId = new Map<string, Session>();
  readonly #byStream = new Map<string, Session>();
  /** The newest session of every stream that is live or may come back. */
  readonly #newest = new Map<string, SessionStatus>();
  /** Streams that a session is just being opened on. */
  readonly #claims = new Set<string>();
  readonly #authorisations: Counter<'result'>;
  readonly #ends: Counter<'reason'>;

  constructor(settings: { readonly liveWindowMs: number }, deps: PublishSessionsDeps) {
    this.#liveWindowMs = settings.liveWindowMs;
    this.#deps = deps;
    const registers = [deps.metrics];
    this.#authorisations = new Counter({
      name: 'origin_publish_authorisations_total',
      help: 'Broadcasters that asked to publish, by the answer.',
      labelNames: ['result'],
      registers,
    });
    this.#ends = new Counter({
      name: 'origin_publish_sessions_ended_total',
      help: 'Publish sessions that ended, by reason.',
      labelNames: ['reason'],
      registers,
    });
    const active = (): number => this.#byId.size;
    new Gauge({
      name: 'origin_publish_sessions',
      help: 'Publish sessions that are alive.',
      registers,
      collect() {
        this.set(active());
      },
    });
  }

  /**
   * Opens a session for a broadcaster. The only call that waits for the database.
   *
   * @throws {ProblemError} 403 `stream_key_unknown`, 409 `stream_busy`, 429 `too_many_attempts`
   * @throws {DatabaseUnavailableError}
   */
  async authorise(request: PublishRequest): Promise<PublishGrant> {
    try {
      const session = await this.#open(request);
      this.#authorisations.inc({ result: 'granted' });
      return toGrant(session);
    } catch (error) {
      this.#authorisations.inc({ result: error instanceof ProblemError ? error.code : 'unavailable' });
      throw error;
    }
  }

  /**
   * The broadcaster is alive.
   *
   * @throws {ProblemError} 410 `session_ended`
   */
  heartbeat(sessionId: string, heartbeat: Heartbeat): void {
    const session = this.#get(sessionId);
    session.aliveMs = this.#deps.clock.monotonicMs();
    session.unconfirmed = false;
    if (heartbeat.source !== undefined) session.source = heartbeat.source;
  }

  /**
   * Begins a run of media of the session.
   *
   * @throws {ProblemError} 410 `session_ended`, 409 `fencing_token_stale`, 422 `anchor_implausible`, and what the live
   * window says
   */
  beginTimeline(sessionId: string, request: TimelineRequest): TimelineGrant {
    const session = this.#get(sessionId);
    refuseOtherToken(session, request.fencingToken);
    const skewMs = Math.abs(request.anchorUtcMs - this.#deps.clock.nowMs());
    if (skewMs > ANCHOR_SKEW_MAX_MS)
      throw new ProblemError(
        422,
        'anchor_implausible',
        'The clocks of the ingest and of the origin are more than an hour apart.',
        { fields: [{ field: 'anchorUtcMs', message: `is ${skewMs} ms from the origin's clock` }] },
      );
    const { anchorUtcMs, presentation } = request;
    const grant = this.#deps.live.beginTimeline({
      streamId: session.streamId,
      sessionId,
      fencingToken: session.fencingToken,
      anchorUtcMs,
      presentation,
      lastMsnFloor: session.lastMsn,
      reconnectWindowMs: session.reconnectWindowMs,
      liveWindowMs: this.#liveWindowMs,
    });
    this.#deps.logger.info({ ...describe(session), ...grant }, 'timeline begun');
    this.#deps.journal.note({ sessionId, anchorUtcMs, firstMsn: grant.firstMsn, lastMsn: grant.firstMsn });
    return grant;
  }

  /**
   * The broadcaster has gone. Ending a session that has ended already is no error: the report may be a repeated one.
   *
   * @throws {ProblemError} 404 `session_not_found` when it is another stream's, 409 `fencing_token_stale`
   */
  end(streamId: string, request: EndRequest): void {
    const session = this.#byId.get(request.sessionId);
    if (session === undefined) return;
    if (session.streamId !== streamId)
      throw new ProblemError(404, 'session_not_found', `Stream ${streamId} has no such session.`);
    refuseOtherToken(session, request.fencingToken);
    this.#finish(session, request.reason);
  }

  /** A stream was changed: what it asks for counts from the next timeline on. */
  streamChanged(stream: StreamRecord): void {
    const session = this.#byStream.get(stream.id);
    if (session !== undefined) session.reconnectWindowMs = stream.reconnectWindowS * 1_000;
  }

  /**
   * The keys of a stream were changed: ends its session when that has lost its key. Asks the database, so that of two
   * changes at the same time neither is judged by what the other has found.
   *
   * @throws {DatabaseUnavailableError} then the check that goes on all the time will end it
   */
  async keysChanged(streamId: string): Promise<void> {
    const session = this.#byStream.get(streamId);
    if (session === undefined) return;
    for (const sessionId of await this.#deps.store.revoked([session])) this.revoke(sessionId);
  }

  /** The stream was deleted: nobody publishes or plays it any more. */
  streamDeleted(streamId: string): void {
    const session = this.#byStream.get(streamId);
    if (session !== undefined) this.#finish(session, 'revoked');
    this.#newest.delete(streamId);
    this.#deps.live.remove(streamId);
  }

  /** Ends a session whose key was found to be gone; one that has ended meanwhile stays as it is. */
  revoke(sessionId: string): void {
    const session = this.#byId.get(sessionId);
    if (session !== undefined) this.#finish(session, 'revoked');
  }

  /**
   * Takes up the sessions that this origin had before it was restarted, so that a broadcaster need not connect again.
   * Until a heartbeat comes, such a session keeps nobody else from publishing.
   */
  resume(sessions: readonly OpenSession[]): void {
    for (const session of sessions) this.#begin(session, true);
  }

  /** The session that publishes a stream now; undefined when nobody does. */
  status(streamId: string): SessionStatus | undefined {
    const session = this.#byStream.get(streamId);
    return session === undefined || session.unconfirmed ? undefined : toStatus(session);
  }

  /** The newest session of a stream that is live or waits for its broadcaster; undefined for any other stream. */
  newest(streamId: string): SessionStatus | undefined {
    const active = this.status(streamId);
    if (active !== undefined) return active;
    const state = this.#deps.live.status(streamId)?.state;
    if (state === undefined || state === 'ended') this.#newest.delete(streamId);
    return this.#newest.get(streamId);
  }

  /** Ids of the streams that may be live or waiting for their broadcaster. */
  publishedStreams(): string[] {
    return [...this.#newest.keys()];
  }

  /** All sessions that are alive. */
  list(): { readonly sessionId: string; readonly keyId: string; readonly streamId: string }[] {
    return Array.from(this.#byId.values(), ({ sessionId, keyId, streamId }) => ({
      sessionId,
      keyId,
      streamId,
    }));
  }

  /** Stops watching. The sessions stay open in the database, for the next start to take up. */
  close(): void {
    for (const session of this.#byId.values()) session.timer?.cancel();
    this.#byId.clear();
    this.#byStream.clear();
  }

  async #open(request: PublishRequest): Promise<Session> {
    const { clock, store, failures, journal, logger } = this.#deps;
    const { remoteAddress } = request;
    const retryAfterS = failures.retryAfterS(remoteAddress);
    if (retryAfterS > 0) throw tooManyAttempts(retryAfterS);
    const opening = { sessionId: randomUUID(), remoteAddress, startedAtMs: clock.nowMs() };
    let claimed: string | undefined;
    try {
      // The number that the new session goes on from may be among the news that are not written yet.
      await journal.flush();
      const opened = await store.open(request.streamKey, opening, ({ streamId }) => {
        this.#admit(streamId);
        claimed = streamId;
      });
      if (opened === undefined) {
        failures.record(remoteAddress);
        throw new ProblemError(403, PUBLISH_ERROR_CODES.streamKeyUnknown, 'No stream has this key.');
      }
      const session = this.#begin({ ...opening, ...opened.stream, fencingToken: opened.fencingToken }, false);
      logger.info({ ...describe(session), remoteAddress }, 'publish granted');
      return session;
    } catch (error) {
      // Whether the session got into the database is not known; if it did, it is not to stay open there.
      if (claimed !== undefined)
        journal.note({ sessionId: opening.sessionId, endedAtMs: clock.nowMs(), endReason: 'error' });
      throw error;
    } finally {
      if (claimed !== undefined) this.#claims.delete(claimed);
    }
  }

  /** Claims the stream for a session that is about to be opened. */
  #admit(streamId: string): void {
    const session = this.#byStream.get(streamId);
    if (this.#claims.has(streamId) || (session !== undefined && !session.unconfirmed))
      throw new ProblemError(
        409,
        PUBLISH_ERROR_CODES.streamBusy,
        'Somebody publishes this stream; a publisher that has gone is noticed within 3 s.',
      );
    this.#claims.add(streamId);
  }

  #begin(opened: OpenSession, unconfirmed: boolean): Session {
    const before = this.#byStream.get(opened.streamId);
    if (before !== undefined) this.#finish(before, 'lost');
    const session: Session = {
      ...opened,
      aliveMs: this.#deps.clock.monotonicMs(),
      unconfirmed,
      source: null,
      reconnectWindowMs: opened.reconnectWindowS * 1_000,
      timer: undefined,
    };
    this.#byId.set(session.sessionId, session);
    this.#byStream.set(session.streamId, session);
    this.#newest.set(session.streamId, toStatus(session));
    this.#watch(session, HEARTBEAT_EXPIRY_MS);
    return session;
  }

  #watch(session: Session, delayMs: number): void {
    const { clock } = this.#deps;
    const dueMs = clock.monotonicMs() + delayMs;
    session.timer = clock.after(delayMs, () => {
      const nowMs = clock.monotonicMs();
      // Called much too late, it is we who were away (a paused process): heartbeats may lie unread in the sockets.
      if (nowMs - dueMs > HEARTBEAT_INTERVAL_MS) return this.#watch(session, HEARTBEAT_EXPIRY_MS);
      const silentMs = nowMs - session.aliveMs;
      if (silentMs >= HEARTBEAT_EXPIRY_MS) return this.#finish(session, 'lost');
      return this.#watch(session, HEARTBEAT_EXPIRY_MS - silentMs);
    });
  }

  #finish(session: Session, reason: SessionEndReason): void {
    const { clock, journal, live, logger } = this.#deps;
    const { sessionId, streamId } = session;
    session.timer?.cancel();
    this.#byId.delete(sessionId);
    this.#byStream.delete(streamId);
    this.#newest.set(streamId, toStatus(session));
    this.#ends.inc({ reason });
    logger.info({ ...describe(session), reason }, 'publish session ended');
    const lastMsn = live.status(streamId)?.lastMsn;
    journal.note({
      sessionId,
      endedAtMs: clock.nowMs(),
      endReason: reason,
      ...(lastMsn === undefined ? {} : { lastMsn }),
    });
    live.sessionEnded(streamId, sessionId, reason);
  }

  #get(sessionId: string): Session {
    const session = this.#byId.get(sessionId);
    if (session === undefined)
      throw new ProblemError(
        410,
        PUBLISH_ERROR_CODES.sessionEnded,
        'This publish session has ended: its key was changed, its stream deleted, or its heartbeats were missed.',
      );
    return session;
  }
}

function refuseOtherToken(session: Session, fencingToken: number): void {
  if (fencingToken !== session.fencingToken)
    throw new ProblemError(
      409,
      PUBLISH_ERROR_CODES.fencingTokenStale,
      'This is not the fencing token of the session; stop writing.',
    );
}

function tooManyAttempts(retryAfterS: number): ProblemError {
  return new ProblemError(
    429,
    PUBLISH_ERROR_CODES.tooManyAttempts,
    'Too many unknown stream keys came from this address.',
    { headers: { 'retry-after': String(retryAfterS) } },
  );
}

function toGrant(session: Session): PublishGrant {
  const { sessionId, streamId, fencingToken, segmentDurationMs, partDurationMs, ladder } = session;
  return { sessionId, streamId, fencingToken, segmentDurationMs, partDurationMs, ladder };
}

function toStatus(session: Session): SessionStatus {
  const { sessionId, startedAtMs, remoteAddress, source } = session;
  return { sessionId, startedAtMs, remoteAddress, source };
}

/** What the log may know of a session. */
function describe(session: Session): { streamId: string; sessionId: string; fencingToken: number } {
  const { streamId, sessionId, fencingToken } = session;
  return { streamId, sessionId, fencingToken };
}
