import type { LadderSettings } from '#protocol/ingest/publish-session.ts';

/** What a client may choose about a stream. */
export type StreamSettings = {
  /** For people; 1 to 120 characters. */
  readonly name: string;
  readonly ladder: LadderSettings;
  readonly segmentDurationMs: number;
  readonly partDurationMs: number;
  /** How long, in seconds, the playlist waits for a broadcaster that has gone. */
  readonly reconnectWindowS: number;
  readonly access: StreamAccess;
  /** How far back a running stream can be watched, s; 0 not at all. */
  readonly dvrWindowS: number;
  /** How long an ended stream can be watched, s; 0 not at all. */
  readonly retentionS: number;
};

/** Who may play: everybody, or whoever holds a playback token for the stream. */
export type StreamAccess = 'public' | 'token';

/** A stream as the registry has it. */
export type StreamRecord = StreamSettings & {
  readonly id: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
};

/** One key of a stream; the key itself is known to its owner only. */
export type StreamKeyRecord = {
  readonly id: string;
  readonly createdAtMs: number;
  /** When it ends; null for a key that stays until it is replaced. */
  readonly notAfterMs: number | null;
};

/** Who changes something, for the tenant's data and the audit. */
export type Actor = {
  readonly tenantId: string;
  /** A name for the audit, never a credential. */
  readonly name: string;
  readonly requestId: string;
};
