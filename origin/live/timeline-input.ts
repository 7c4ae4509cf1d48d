import type { Presentation } from '#protocol/ingest/publish-session.ts';

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

/** Why a session ended; see `LiveStreams.sessionEnded`. */
export type SessionEndReason = 'unpublished' | 'lost' | 'revoked' | 'error';
