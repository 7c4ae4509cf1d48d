import { randomUUID } from 'node:crypto';
import { Counter, Gauge } from 'prom-client';
import {
  COPIED_RENDITION_ID,
  type EndRequest,
  type Heartbeat,
  type PublishGrant,
  type PublishRequest,
  type TimelineGrant,
  type TimelineRequest,
} from '#protocol/ingest/publish-session.ts';
import type { Clock } from '#runtime/clock.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { LiveStreams, SessionEndReason, TimelineInput } from '#origin/live/live-streams.ts';
import type { PublishSessionStore } from '#origin/registry/publish-session-store.ts';
import type { OpenSession } from '#origin/registry/publish-sessions-table.ts';
import type { StreamRecord } from '#origin/registry/stream-record.ts';
import { ActiveSessions, type ActiveSession } from '#origin/sessions/active-sessions.ts';
import type { FailedAuthorisations } from '#origin/sessions/failed-authorisations.ts';
import type { SessionJournal } from '#origin/sessions/session-journal.ts';
import {
  anchorImplausible,
  fencingTokenStale,
  sessionEnded,
  sessionNotFound,
  streamBusy,
  streamKeyUnknown,
  tooManyAttempts,
} from '#origin/sessions/session-problems.ts';

/** What sessions tell the live window. */
export type LiveWindow = Pick<LiveStreams, 'beginTimeline' | 'sessionEnded' | 'remove' | 'status'>;

/** What sessions need of the other origins, where there are several. */
export type SessionCluster = {
  /** As {@link LiveWindow}'s, at the origins that are to hold the stream. */
  beginTimeline(input: TimelineInput): Promise<TimelineGrant>;
  /** The session of a stream that another origin looks after. */
  sessionOf(streamId: string): SessionStatus | undefined;
  /** Ids of the streams that others hold or look after. */
  streams(): readonly string[];
};

export type PublishSessionsDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly store: PublishSessionStore;
  readonly journal: SessionJournal;
  readonly failures: FailedAuthorisations;
  readonly live: LiveWindow;
  readonly cluster?: SessionCluster | undefined;
};

/** A session as the API shows it. */
export type SessionStatus = {
  readonly sessionId: string;
  readonly startedAtMs: number;
  readonly remoteAddress: string;
  /** What the broadcaster sends, as far as it is known. */
  readonly source: ActiveSession['source'];
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
  readonly #active: ActiveSessions;
  /** The newest session of every stream that is live or may come back. */
  readonly #newest = new Map<string, SessionStatus>();
  /** Streams that a session is just being opened on. */
  readonly #claims = new Set<string>();
  readonly #authorisations: Counter<'result'>;
  readonly #ends: Counter<'reason'>;

  constructor(settings: { readonly liveWindowMs: number }, deps: PublishSessionsDeps) {
    this.#liveWindowMs = settings.liveWindowMs;
    this.#deps = deps;
    this.#active = new ActiveSessions(deps.clock, (session) => void this.#silent(session));
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
    const active = (): number => this.#active.size;
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
      return { ...toGrant(session), ...this.#renditionsToKeep(session.streamId) };
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
    this.#active.touch(session);
    session.unconfirmed = false;
    if (this.#deps.cluster !== undefined) this.#deps.journal.note({ sessionId, isAlive: true });
    if (heartbeat.source !== undefined) session.source = heartbeat.source;
  }

  /**
   * Begins a run of media of the session.
   *
   * @throws {ProblemError} 410 `session_ended`, 409 `fencing_token_stale`, 422 `anchor_implausible`, and what the live
   * window says
   */
  beginTimeline(sessionId: string, request: TimelineRequest): TimelineGrant {
    const input = this.#timelineInput(sessionId, request);
    return this.#begun(input, this.#deps.live.beginTimeline(input));
  }

  /**
   * As {@link beginTimeline}, at the origins that are to hold the stream.
   *
   * @throws also {ProblemError} 503 `holders_unavailable`
   */
  async placeTimeline(sessionId: string, request: TimelineRequest): Promise<TimelineGrant> {
    const { cluster } = this.#deps;
    if (cluster === undefined) return this.beginTimeline(sessionId, request);
    const input = this.#timelineInput(sessionId, request);
    return this.#begun(input, await cluster.beginTimeline(input));
  }

  /**
   * Takes up a session that is not known here, if another origin has looked after it until now.
   *
   * @throws {DatabaseUnavailableError}
   */
  async takeUp(sessionId: string): Promise<void> {
    const { cluster, store, logger } = this.#deps;
    if (cluster === undefined || this.#active.get(sessionId) !== undefined) return;
    const opened = await store.takeUp(sessionId);
    if (opened === undefined || this.#active.get(sessionId) !== undefined) return;
    const current = this.#active.ofStream(opened.streamId);
    if (current !== undefined && current.fencingToken > opened.fencingToken) return;
    logger.info(describe(this.#begin(opened, false)), 'publish session taken over from another origin');
  }

  /** Forgets those sessions that ended elsewhere or that another origin has taken over. */
  async forgetMoved(): Promise<void> {
    const { cluster, store } = this.#deps;
    if (cluster === undefined) return;
    for (const sessionId of await store.moved(this.#active.values().map((session) => session.sessionId)))
      this.#forget(sessionId);
  }

  /**
   * The broadcaster has gone. Ending a session that has ended already is no error: the report may be a repeated one.
   *
   * @throws {ProblemError} 404 `session_not_found` when it is another stream's, 409 `fencing_token_stale`
   */
  end(streamId: string, request: EndRequest): void {
    const session = this.#active.get(request.sessionId);
    if (session === undefined) return;
    if (session.streamId !== streamId) throw sessionNotFound(streamId);
    refuseOtherToken(session, request.fencingToken);
    this.#finish(session, request.reason);
  }

  /** A stream was changed: what it asks for counts from the next timeline on. */
  streamChanged(stream: StreamRecord): void {
    const session = this.#active.ofStream(stream.id);
    if (session !== undefined) session.reconnectWindowMs = stream.reconnectWindowS * 1_000;
  }

  /**
   * The keys of a stream were changed: ends its session when that has lost its key. Asks the database, so that of two
   * changes at the same time neither is judged by what the other has found.
   *
   * @throws {DatabaseUnavailableError} then the check that goes on all the time will end it
   */
  async keysChanged(streamId: string): Promise<void> {
    const session = this.#active.ofStream(streamId);
    if (session === undefined) return;
    for (const sessionId of await this.#deps.store.revoked([session])) this.revoke(sessionId);
  }

  /** The stream was deleted: nobody publishes or plays it any more. */
  streamDeleted(streamId: string): void {
    const session = this.#active.ofStream(streamId);
    if (session !== undefined) this.#finish(session, 'revoked');
    this.#newest.delete(streamId);
    this.#deps.live.remove(streamId);
  }

  /** Ends a session whose key was found to be gone; one that has ended meanwhile stays as it is. */
  revoke(sessionId: string): void {
    const session = this.#active.get(sessionId);
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
    const session = this.#active.ofStream(streamId);
    if (session !== undefined && !session.unconfirmed) return toStatus(session);
    return this.#deps.cluster?.sessionOf(streamId);
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
    return [...new Set([...this.#newest.keys(), ...(this.#deps.cluster?.streams() ?? [])])];
  }

  /** The sessions that this origin looks after, as the others show them. */
  statuses(): (SessionStatus & { readonly streamId: string })[] {
    return this.#active
      .values()
      .filter(({ unconfirmed }) => !unconfirmed)
      .map((session) => ({ streamId: session.streamId, ...toStatus(session) }));
  }

  /** Whether this origin looks after the session. */
  has(sessionId: string): boolean {
    return this.#active.get(sessionId) !== undefined;
  }

  /** All sessions that are alive. */
  list(): { readonly sessionId: string; readonly keyId: string; readonly streamId: string }[] {
    return this.#active.values().map(({ sessionId, keyId, streamId }) => ({ sessionId, keyId, streamId }));
  }

  /** Stops watching. The sessions stay open in the database, for the next start to take up. */
  close(): void {
    this.#active.clear();
  }

  /** See {@link PublishGrant.renditionsToKeep}; nothing when no playlist waits for the broadcaster. */
  #renditionsToKeep(streamId: string): Pick<PublishGrant, 'renditionsToKeep'> {
    const status = this.#deps.live.status(streamId);
    if (status === undefined || status.state === 'ended') return {};
    const renditionsToKeep = status.renditions.flatMap(({ id, kind, width, height, nominalBitrateBps }) =>
      kind === 'video' && width !== null && height !== null && id !== COPIED_RENDITION_ID
        ? { id, height: Math.min(width, height), bitrateBps: nominalBitrateBps }
        : [],
    );
    return renditionsToKeep.length === 0 ? {} : { renditionsToKeep };
  }

  async #open(request: PublishRequest): Promise<ActiveSession> {
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
        throw streamKeyUnknown();
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
    const session = this.#active.ofStream(streamId);
    if (this.#claims.has(streamId) || (session !== undefined && !session.unconfirmed)) throw streamBusy();
    this.#claims.add(streamId);
  }

  #timelineInput(sessionId: string, request: TimelineRequest): TimelineInput {
    const session = this.#get(sessionId);
    refuseOtherToken(session, request.fencingToken);
    const { anchorUtcMs, presentation } = request;
    const skewMs = Math.abs(anchorUtcMs - this.#deps.clock.nowMs());
    if (skewMs > ANCHOR_SKEW_MAX_MS) throw anchorImplausible(skewMs);
    return {
      streamId: session.streamId,
      sessionId,
      fencingToken: session.fencingToken,
      anchorUtcMs,
      presentation,
      lastMsnFloor: session.lastMsn,
      reconnectWindowMs: session.reconnectWindowMs,
      recording: { dvrWindowMs: session.dvrWindowS * 1_000, retentionMs: session.retentionS * 1_000 },
      liveWindowMs: this.#liveWindowMs,
    };
  }

  #begun(
    { streamId, sessionId, fencingToken, anchorUtcMs }: TimelineInput,
    grant: TimelineGrant,
  ): TimelineGrant {
    this.#deps.logger.info({ streamId, sessionId, fencingToken, ...grant }, 'timeline begun');
    this.#deps.journal.note({ sessionId, anchorUtcMs, firstMsn: grant.firstMsn, lastMsn: grant.firstMsn });
    return grant;
  }

  /** A session has missed its heartbeats here; they may be going to another origin since. */
  async #silent(session: ActiveSession): Promise<void> {
    if (this.#deps.cluster === undefined) return this.#finish(session, 'lost');
    const moved = await this.#deps.store.moved([session.sessionId]).catch((error: unknown) => {
      this.#deps.logger.warn({ err: error, ...describe(session) }, 'a silent session counts as lost');
      return [];
    });
    if (this.#active.get(session.sessionId) !== session) return;
    if (moved.length > 0) this.#forget(session.sessionId);
    else this.#finish(session, 'lost');
  }

  /** Another origin looks after the session now. */
  #forget(sessionId: string): void {
    const session = this.#active.get(sessionId);
    if (session === undefined) return;
    this.#active.remove(session);
    this.#newest.delete(session.streamId);
    this.#deps.logger.info(describe(session), 'publish session is looked after elsewhere');
  }

  #begin(opened: OpenSession, unconfirmed: boolean): ActiveSession {
    const before = this.#active.ofStream(opened.streamId);
    if (before !== undefined) this.#finish(before, 'lost');
    const reconnectWindowMs = opened.reconnectWindowS * 1_000;
    const session: ActiveSession = { ...opened, unconfirmed, source: null, reconnectWindowMs };
    this.#active.add(session);
    this.#newest.set(session.streamId, toStatus(session));
    return session;
  }

  #finish(session: ActiveSession, reason: SessionEndReason): void {
    const { clock, journal, live, logger } = this.#deps;
    const { sessionId, streamId } = session;
    this.#active.remove(session);
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
    // Another origin may be asked for the stream at once, and knows only what is in the database.
    if (this.#deps.cluster !== undefined) void journal.flush();
  }

  #get(sessionId: string): ActiveSession {
    const session = this.#active.get(sessionId);
    if (session === undefined) throw sessionEnded();
    return session;
  }
}

function refuseOtherToken(session: ActiveSession, fencingToken: number): void {
  if (fencingToken !== session.fencingToken) throw fencingTokenStale();
}

function toGrant(session: ActiveSession): PublishGrant {
  const { sessionId, streamId, fencingToken, segmentDurationMs, partDurationMs, ladder } = session;
  return { sessionId, streamId, fencingToken, segmentDurationMs, partDurationMs, ladder };
}

function toStatus(session: ActiveSession): SessionStatus {
  const { sessionId, startedAtMs, remoteAddress, source } = session;
  return { sessionId, startedAtMs, remoteAddress, source };
}

/** What the log may know of a session. */
function describe(session: ActiveSession): { streamId: string; sessionId: string; fencingToken: number } {
  const { streamId, sessionId, fencingToken } = session;
  return { streamId, sessionId, fencingToken };
}
