import type { RecordingWish } from '#origin/live/stream-recorder.ts';
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
  /** What is to be kept; nothing when it is not said. */
  readonly recording?: RecordingWish;
  /** What another origin that holds the stream has decided; it is taken over or refused, never changed. */
  readonly assigned?: TimelineDecision;
};

/** Everything about a timeline that origins could decide differently, and must not. */
export type TimelineDecision = {
  readonly firstMsn: number;
  /** Whether it goes on in the playlists that there are. */
  readonly isContinued: boolean;
  /** Wall clock of media time 0, fractional ms since the Unix epoch. */
  readonly startUtcMs: number;
  readonly discontinuityNumber: number;
};

/** Why a session ended; see `LiveStreams.sessionEnded`. */
export type SessionEndReason = 'unpublished' | 'lost' | 'revoked' | 'error';
