import type { TimelineGrant } from '#protocol/ingest/publish-session.ts';
import type { Clock } from '#runtime/clock.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { HeldRequests, type Client } from '#origin/live/held-requests.ts';
import { LiveMetrics } from '#origin/live/live-metrics.ts';
import type { LiveSettings } from '#origin/live/live-settings.ts';
import type { LiveStatus } from '#origin/live/live-status.ts';
import { LiveStream } from '#origin/live/live-stream.ts';
import { MediaMemory } from '#origin/live/media-memory.ts';
import { RequestWaiters, StreamHolds } from '#origin/live/request-waiters.ts';
import type { RestoredStream, StreamRecorder } from '#origin/live/stream-recorder.ts';
import type { SessionEndReason, TimelineInput } from '#origin/live/timeline-input.ts';

export type { LiveRenditionStatus, LiveStatus } from '#origin/live/live-status.ts';
export type { LiveStream } from '#origin/live/live-stream.ts';
export type { SessionEndReason, TimelineDecision, TimelineInput } from '#origin/live/timeline-input.ts';

export type LiveStreamsDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Keeps what is listed; without one nothing outlives the live window. */
  readonly recorder?: StreamRecorder;
  /**
   * Whether no other origin that is alive has the parts of a stream. When there is one, players are sent there (404) as
   * soon as parts fail to reach this one. Asked often; must not wait. Without it this is the only origin.
   */
  readonly isLastOrigin?: (streamId: string) => boolean;
};

/** Three target durations of a stream that does not know its own yet. */
const ARRIVAL_HOLD_MS = 6_000;

/**
 * All live streams of one origin process: numbers their timelines, takes their parts, renders their playlists, holds
 * and answers blocked requests. Memory only.
 */
export class LiveStreams {
  readonly metrics: LiveMetrics;
  readonly #settings: LiveSettings;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #recorder: StreamRecorder | undefined;
  readonly #isLastOrigin: (streamId: string) => boolean;
  readonly #holds: HeldRequests;
  readonly #memory: MediaMemory;
  readonly #streams = new Map<string, LiveStream>();
  /** Released by every stream that begins. */
  readonly #arrivals: RequestWaiters<LiveStream>;

  constructor(settings: LiveSettings, deps: LiveStreamsDeps) {
    this.#settings = settings;
    this.#clock = deps.clock;
    this.#logger = deps.logger.child({ subsystem: 'live' });
    this.#recorder = deps.recorder;
    this.#isLastOrigin = deps.isLastOrigin ?? (() => true);
    this.metrics = new LiveMetrics(deps.metrics);
    this.#holds = new HeldRequests(settings, { clock: deps.clock, metrics: this.metrics });
    this.#memory = new MediaMemory(settings.totalBytesMax, this.metrics);
    this.#arrivals = new RequestWaiters(new StreamHolds(this.#holds, settings.streamWaitersMax));
  }

  /**
   * Gives out the number and first MSN of a new timeline; parts of it are accepted from now on and parts of earlier
   * ones no longer.
   *
   * @throws {ProblemError} 400 `presentation_invalid`, 409 `fencing_token_stale`, 410 `session_ended`,
   *   503 `streams_exhausted`
   */
  beginTimeline(input: TimelineInput): TimelineGrant {
    const known = this.#streams.get(input.streamId);
    if (known !== undefined) return known.beginTimeline(input);
    if (this.#streams.size >= this.#settings.streamsMax && !this.#freeEnded(undefined))
      throw new ProblemError(503, 'streams_exhausted', 'This origin serves as many streams as it may.', {
        headers: { 'retry-after': '5' },
      });
    const stream = this.#newStream(input.streamId);
    const grant = stream.beginTimeline(input);
    this.#streams.set(input.streamId, stream);
    this.metrics.streams.set(this.#streams.size);
    this.#arrivals.publish(stream);
    return grant;
  }

  /**
   * The broadcaster has gone. Parts with GAP=YES keep the cadence until a new timeline begins or the reconnect window
   * (10 s at most after `unpublished`, none after `revoked`) is over and the playlist ends. A session that is not the
   * newest of its stream is ignored.
   */
  sessionEnded(streamId: string, sessionId: string, reason: SessionEndReason): void {
    this.#streams.get(streamId)?.sessionEnded(sessionId, reason);
  }

  /** The stream was deleted: waiters get the ended playlist, later requests 404. */
  remove(streamId: string): void {
    this.#forget(streamId);
    this.#recorder?.removed(streamId);
  }

  /** Other origins go on with the stream: it is forgotten here without an end. */
  abandon(streamId: string): void {
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return;
    this.#streams.delete(streamId);
    this.metrics.streams.set(this.#streams.size);
    stream.abandon();
  }

  /** Goes on with a stream where another process was stopped. Before anything else is done with it. */
  restore(restored: RestoredStream): void {
    const { streamId } = restored;
    if (this.#streams.has(streamId)) throw new Error(`stream ${streamId} is there already`);
    const stream = this.#newStream(streamId);
    stream.restore(restored);
    this.#streams.set(streamId, stream);
    this.metrics.streams.set(this.#streams.size);
  }

  get(streamId: string): LiveStream | undefined {
    return this.#streams.get(streamId);
  }

  /**
   * The stream, as soon as it begins its first timeline: for requests that come when its broadcaster has connected and
   * nothing has been encoded yet.
   *
   * @throws {ProblemError} 503 when that takes too long, or there is no room for one more who waits
   */
  async arrival(streamId: string, client: Client): Promise<LiveStream> {
    const known = this.#streams.get(streamId);
    if (known !== undefined) return known;
    const deadlineMs = this.#clock.monotonicMs() + ARRIVAL_HOLD_MS;
    return this.#arrivals.wait(`stream ${streamId}`, ({ id }) => id === streamId, { deadlineMs, client });
  }

  /** All requests that this process holds; others that hold some share its limits. */
  get holds(): HeldRequests {
    return this.#holds;
  }

  /** The streams that have a live window here. */
  list(): LiveStream[] {
    return [...this.#streams.values()];
  }

  status(streamId: string): LiveStatus | undefined {
    return this.#streams.get(streamId)?.status;
  }

  /**
   * Answers every waiter with 503 and stops every timer; requests that would have to be held get 503 from now on. What
   * is in memory stays served until the sockets close.
   */
  close(): Promise<void> {
    this.#holds.close(
      new ProblemError(503, 'shutting_down', 'This origin is going down; ask another one.', {
        headers: { 'retry-after': '1' },
      }),
    );
    for (const stream of this.#streams.values()) stream.stop();
    return Promise.resolve();
  }

  #newStream(streamId: string): LiveStream {
    return new LiveStream(streamId, this.#settings, {
      clock: this.#clock,
      logger: this.#logger,
      metrics: this.metrics,
      holds: this.#holds,
      memory: this.#memory,
      recorder: this.#recorder,
      isLastOrigin: this.#isLastOrigin,
      freeEnded: () => this.#freeEnded(streamId),
      onForgotten: () => this.#forget(streamId),
    });
  }

  /** Forgets the stream that was begun first of those that have ended. */
  #freeEnded(exceptStreamId: string | undefined): boolean {
    for (const [streamId, stream] of this.#streams) {
      if (!stream.isEnded || streamId === exceptStreamId) continue;
      this.#forget(streamId);
      return true;
    }
    return false;
  }

  #forget(streamId: string): void {
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return;
    this.#streams.delete(streamId);
    this.metrics.streams.set(this.#streams.size);
    stream.dispose();
  }
}
