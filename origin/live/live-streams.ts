import type { Presentation, TimelineGrant } from '#protocol/ingest/publish-session.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { LiveSettings } from '#origin/live/live-settings.ts';

export type LiveStreamsDeps = { readonly clock: Clock; readonly logger: Logger; readonly metrics: Metrics };

/** What the registry knows when a worker asks for a new timeline. */
export type TimelineInput = {
  readonly streamId: string;
  readonly sessionId: string;
  readonly fencingToken: number;
  /** Wall clock, ms since the Unix epoch, at which media time 0 of the timeline reached the ingest. */
  readonly anchorUtcMs: number;
  readonly presentation: Presentation;
  /** Highest MSN ever recorded for the stream, 0 if none. */
  readonly lastMsnFloor: number;
  /** How long the playlist waits for the broadcaster to come back before it ends. */
  readonly reconnectWindowMs: number;
  /** How much media a playlist lists; never less than the spec's minimum, whatever is asked. */
  readonly liveWindowMs: number;
};

/** Why a session ended; see {@link LiveStreams.sessionEnded}. */
export type SessionEndReason = 'unpublished' | 'lost' | 'revoked' | 'error';

/** One rendition as {@link LiveStatus} shows it. */
export type LiveRenditionStatus = {
  readonly id: string;
  readonly kind: 'video' | 'audio';
  readonly codecs: string;
  readonly width: number | null;
  readonly height: number | null;
  readonly frameRate: number | null;
  /** Bits per second over the listed segments; null before the first complete one. */
  readonly averageBitrateBps: number | null;
  readonly peakBitrateBps: number | null;
  /** Last frame of a part at the ingest → part stored here, of the newest part; null before the first. */
  readonly storeLatencyMs: number | null;
  readonly lastMsn: number;
  /** Index of the newest part of segment `lastMsn`; -1 when that segment is complete or empty. */
  readonly lastPart: number;
};

/** A stream as the API shows it. */
export type LiveStatus = {
  readonly state: 'live' | 'reconnecting' | 'ended';
  /** Highest MSN listed or open in any rendition: what the registry records and gives back as `lastMsnFloor`. */
  readonly lastMsn: number;
  readonly lastPart: number;
  readonly renditions: readonly LiveRenditionStatus[];
  readonly waiters: number;
  /** Timelines begun in this process. */
  readonly timelines: number;
  readonly windowBytes: number;
};

/** One stream's live window, as the HTTP routes use it. */
export type LiveStream = { readonly id: string };

/**
 * All live streams of one origin process: numbers their timelines, takes their parts, renders their playlists, holds
 * and answers blocked requests. Memory only.
 */
export class LiveStreams {
  // eslint-disable-next-line no-useless-constructor
  constructor(_settings: LiveSettings, _deps: LiveStreamsDeps) {
    // Filled in with the live window.
  }

  /**
   * Gives out the number and first MSN of a new timeline; parts of it are accepted from now on and parts of earlier
   * ones no longer.
   *
   * @throws {ProblemError} 409 `fencing_token_stale`, 410 `session_ended`, 503 `streams_exhausted`
   */
  beginTimeline(_input: TimelineInput): TimelineGrant {
    throw new Error('not built yet');
  }

  /**
   * The broadcaster has gone. Parts with GAP=YES keep the cadence until a new timeline begins or the reconnect window
   * (10 s at most after `unpublished`, none after `revoked`) is over and the playlist ends. A session that is not the
   * newest of its stream is ignored.
   */
  sessionEnded(_streamId: string, _sessionId: string, _reason: SessionEndReason): void {
    throw new Error('not built yet');
  }

  /** The stream was deleted: waiters get the ended playlist, later requests 404. */
  remove(_streamId: string): void {
    throw new Error('not built yet');
  }

  get(_streamId: string): LiveStream | undefined {
    return undefined;
  }

  status(_streamId: string): LiveStatus | undefined {
    return undefined;
  }

  /** Answers every waiter and stops every timer; what comes later is answered 503. */
  close(): Promise<void> {
    return Promise.resolve();
  }
}
