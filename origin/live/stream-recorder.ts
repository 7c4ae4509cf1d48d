import type { Presentation, RenditionDescription } from '#protocol/ingest/publish-session.ts';
import type { PlaylistConstants } from '#protocol/hls/server-control.ts';
import type { Client } from '#origin/live/held-requests.ts';
import type { InitSection, LiveSegment, MediaKind, MediaObject } from '#origin/live/live-segment.ts';

/** What a stream wants to be kept of it. Neither: nothing is kept. */
export type RecordingWish = {
  /** How far back a running stream can be watched, ms; 0 not at all. */
  readonly dvrWindowMs: number;
  /** How long an ended stream can be watched, ms; 0 not at all. */
  readonly retentionMs: number;
};

/** What the segments of a presentation do not say themselves: enough to go on with it in another process. */
export type PresentationState = {
  readonly constants: PlaylistConstants;
  readonly liveWindowMs: number;
  readonly reconnectWindowMs: number;
  readonly writer: { readonly sessionId: string; readonly fencingToken: number };
  /** The newest one. */
  readonly timeline: {
    readonly firstMsn: number;
    readonly presentation: Presentation;
    /** Wall clock of media time 0 and of the moment in which it began, ms since the Unix epoch. */
    readonly startUtcMs: number;
    readonly beganUtcMs: number;
    readonly discontinuityNumber: number;
  };
  /** All that the playlists have, retired ones included. */
  readonly renditions: readonly {
    readonly description: RenditionDescription;
    readonly isRetired: boolean;
  }[];
};

/** What a recorder looks at of a rendition: its complete segments, oldest first, and the one under way. */
export type RecordedWindow = {
  readonly complete: readonly LiveSegment[];
  readonly open: LiveSegment | undefined;
};

/** Told of everything that one presentation lists, as it happens. Nothing of it waits or throws. */
export type PresentationRecorder = {
  timelineBegun(state: PresentationState): void;
  initStored(renditionId: string, init: InitSection): void;
  /** A rendition has got a part, a gap or a complete segment. */
  changed(renditionId: string, window: RecordedWindow): void;
  ended(): void;
};

/** Media that are no longer in memory. */
export type RecordedMedia = {
  readonly media: MediaObject;
  readonly kind: MediaKind;
};

/**
 * Keeps what streams have listed. Its ids of presentations are the MSN of their first segment: no number is ever used
 * twice in a stream.
 */
export type StreamRecorder = {
  /** @returns undefined when nothing of it is to be kept */
  begin(streamId: string, firstMsn: number, wish: RecordingWish): PresentationRecorder | undefined;
  /** The stream was deleted, and all that was kept of it is to be. */
  removed(streamId: string): void;
  /** Whether the ended stream can be watched without the live window. */
  isKept(streamId: string, firstMsn: number): boolean;
  /** @returns undefined when it is not known. @throws {ProblemError} 404 `segment_gap`, 503 */
  segment(
    streamId: string,
    renditionId: string,
    msn: number,
    client: Client,
  ): Promise<RecordedMedia | undefined>;
  /** @returns undefined when it is not known. @throws {ProblemError} 503 */
  init(
    streamId: string,
    renditionId: string,
    timeline: number,
    client: Client,
  ): Promise<RecordedMedia | undefined>;
};

/** A rendition as it was kept. */
export type RestoredRendition = {
  readonly description: RenditionDescription;
  readonly isRetired: boolean;
  /** In one row of numbers, oldest first, {@link LiveSegment.restored}. */
  readonly complete: readonly LiveSegment[];
  readonly open: LiveSegment | undefined;
  readonly inits: readonly InitSection[];
};

/** A stream as another process has it, or has left it. */
export type StreamImage = {
  readonly streamId: string;
  /** MSN of the presentation's first segment. */
  readonly firstMsn: number;
  readonly state: PresentationState;
  readonly renditions: readonly RestoredRendition[];
};

/** A stream to go on with. */
export type RestoredStream = StreamImage & {
  /** Keeps what will be listed; nothing does without one. */
  readonly recorder: PresentationRecorder | undefined;
};
