import { z } from 'zod';

/**
 * The control half of the contract between a transcoder and an origin: who may publish, what is being published, and
 * that it still is. All calls carry `Authorization: Bearer {INGEST_TOKEN}` and JSON bodies; failures are problem+json
 * with the codes of {@link PUBLISH_ERROR_CODES}.
 *
 * | call | by | when |
 * |---|---|---|
 * | `POST /ingest/v1/sessions` → 201 {@link PublishGrant} | ingest | a broadcaster asks to publish |
 * | `POST /ingest/v1/sessions/{sessionId}/heartbeat` → 200 | ingest | every second while the broadcaster sends |
 * | `POST /ingest/v1/sessions/{sessionId}/timelines` → 201 {@link TimelineGrant} | worker | before the first part, and after every break of the timestamps or restart of the encoder |
 * | `POST /ingest/v1/{streamId}/end` → 200 | ingest | the broadcaster has gone |
 */
export const PUBLISH_ERROR_CODES = {
  /** 401: the caller is not one of our transcoders. */
  unauthorized: 'unauthorized',
  /** 403: no stream has this key. */
  streamKeyUnknown: 'stream_key_unknown',
  /** 429 with Retry-After: too many unknown keys from this broadcaster's address. */
  tooManyAttempts: 'too_many_attempts',
  /** 409: the key has a publisher that is alive. */
  streamBusy: 'stream_busy',
  /** 409: the stream's tenant publishes as many streams as it may. */
  tenantLiveExhausted: 'tenant_live_exhausted',
  /** 409: a newer session of this stream exists; stop writing. */
  fencingTokenStale: 'fencing_token_stale',
  /** 410: the session was ended (key changed, stream deleted, heartbeats missed). */
  sessionEnded: 'session_ended',
} as const;

/** Stream ids and rendition ids are path segments and file names: nothing else is ever accepted. */
export const STREAM_ID_PATTERN = /^[A-Za-z0-9_-]{1,64}$/;
export const RENDITION_ID_PATTERN = /^[a-z0-9_-]{1,32}$/;

/** The rendition that is the broadcaster's own video, untranscoded. */
export const COPIED_RENDITION_ID = 'source';

/** Scheme, host and port of an origin, as its peers and the transcoders reach it. */
export const ORIGIN_URL_PATTERN = /^https?:\/\/[^/?#\s;,@]+$/;

/** How often an ingest says that its broadcaster is alive, and after how long an origin stops believing it. */
export const HEARTBEAT_INTERVAL_MS = 1_000;
export const HEARTBEAT_EXPIRY_MS = 3_000;

/** One video rendition of a ladder. Height is the shorter side of the picture; the width follows the source's shape. */
export const LadderRung = z.strictObject({
  height: z.int().min(64).max(4320),
  bitrateBps: z.int().min(50_000).max(50_000_000),
});
export type LadderRung = z.infer<typeof LadderRung>;

/** x264 presets a ladder may use, fastest first. */
export const X264_PRESETS = ['ultrafast', 'superfast', 'veryfast', 'faster', 'fast', 'medium'] as const;

/** How a stream is to be transcoded. Whatever is left out follows the transcoder's own settings. */
export const LadderSettings = z.strictObject({
  /** Rungs not larger than the source are used; none at all when the list is empty and `copy` is set. */
  rungs: z.array(LadderRung).max(8).optional(),
  preset: z.enum(X264_PRESETS).optional(),
  /** Adds the source's own video, untranscoded, as rendition `source`; its key frames must fall on the segment grid. */
  copy: z.boolean().optional(),
  audioBitrateBps: z.int().min(16_000).max(512_000).optional(),
});
export type LadderSettings = z.infer<typeof LadderSettings>;

export const PublishRequest = z.strictObject({
  streamKey: z.string().min(1).max(256),
  /** The broadcaster's address, for the audit and the status; not used for access. */
  remoteAddress: z.string().max(64),
});
export type PublishRequest = z.infer<typeof PublishRequest>;

/** A publish session: the right of one broadcaster's connection to write one stream. */
export const PublishGrant = z.object({
  sessionId: z.uuid(),
  streamId: z.string().regex(STREAM_ID_PATTERN),
  /** Grows with every session of the stream; an origin refuses a lower one than it has seen. */
  fencingToken: z.int().min(1),
  /** What the stream asks for; the real durations follow the frame rate (`protocol/cmaf/part-grid.ts`). */
  segmentDurationMs: z.int().min(1_000).max(6_000),
  partDurationMs: z.int().min(200).max(1_000),
  ladder: LadderSettings,
  /**
   * Video renditions of the playlists that this session goes on with. Their viewers read the multivariant playlist once and
   * know no others, so the encoder has to make them whatever the broadcaster sends now.
   */
  renditionsToKeep: z
    .array(
      z.object({
        id: z.string().regex(RENDITION_ID_PATTERN),
        /** Of the shorter side. */
        height: z.int().min(2),
        bitrateBps: z.int().min(1),
      }),
    )
    .max(16)
    .optional(),
});
export type PublishGrant = z.infer<typeof PublishGrant>;

export const Heartbeat = z.strictObject({
  /** What the broadcaster sends, as far as it is known yet. */
  source: z
    .strictObject({
      videoCodec: z.string().max(64).nullable(),
      audioCodec: z.string().max(64).nullable(),
      width: z.int().nullable(),
      height: z.int().nullable(),
      frameRate: z.number().nullable(),
      /** Measured over the last seconds. */
      bitrateBps: z.int().nullable(),
    })
    .optional(),
});
export type Heartbeat = z.infer<typeof Heartbeat>;

/** An exact frame rate: `numerator / denominator` frames per second. */
export const FrameRate = z.strictObject({ numerator: z.int().min(1), denominator: z.int().min(1) });
export type FrameRate = z.infer<typeof FrameRate>;

const renditionBase = {
  id: z.string().regex(RENDITION_ID_PATTERN),
  /** RFC 6381, as it goes into CODECS. */
  codecs: z.string().regex(/^[A-Za-z0-9.]{1,64}$/),
  /** Ticks per second of this rendition's media timeline. */
  timescale: z.int().min(1).max(10_000_000),
  /** What the encoder was told; BANDWIDTH is measured from the parts instead. */
  bitrateBps: z.int().min(1),
};
export const VideoRendition = z.strictObject({
  ...renditionBase,
  kind: z.literal('video'),
  width: z.int().min(2).max(16_384),
  height: z.int().min(2).max(16_384),
  frameRate: FrameRate,
});
export const AudioRendition = z.strictObject({
  ...renditionBase,
  kind: z.literal('audio'),
  channels: z.int().min(1).max(8),
  sampleRateHz: z.int().min(8_000).max(192_000),
});
export type VideoRendition = z.infer<typeof VideoRendition>;
export type AudioRendition = z.infer<typeof AudioRendition>;
export const RenditionDescription = z.discriminatedUnion('kind', [VideoRendition, AudioRendition]);
export type RenditionDescription = z.infer<typeof RenditionDescription>;

/** Everything an origin must know before the first part: the grid that all renditions share, and the renditions. */
export const Presentation = z.strictObject({
  /** Exact length of a segment in seconds as a fraction, e.g. 60 frames of 1001/30000 s: 60060/30000. */
  segmentDuration: z.strictObject({ ticks: z.int().min(1), timescale: z.int().min(1) }),
  partsPerSegment: z.int().min(1).max(60),
  /** PART-TARGET in whole milliseconds: the longest part of any rendition, rounded up. */
  partTargetMs: z.int().min(1).max(2_000),
  /** EXT-X-TARGETDURATION in seconds. */
  targetDurationS: z.int().min(1).max(12),
  renditions: z.array(RenditionDescription).min(1).max(16),
});
export type Presentation = z.infer<typeof Presentation>;

export const TimelineRequest = z.strictObject({
  fencingToken: z.int().min(1),
  /** Wall clock, ms since the Unix epoch, at which media time 0 of this timeline reached the ingest. */
  anchorUtcMs: z.int().min(0),
  presentation: Presentation,
});
export type TimelineRequest = z.infer<typeof TimelineRequest>;

/**
 * A timeline: a run of media without a break. It begins on a segment boundary with media time 0 in segment `firstMsn`;
 * media time t lies in segment `firstMsn + floor(t / segmentDuration)`.
 */
export const TimelineGrant = z.object({
  /** Grows with every timeline of the stream, not by one; also the n of `init-{n}.mp4`. */
  timeline: z.int().min(0),
  firstMsn: z.int().min(1),
  /**
   * `http(s)://host:port` of every origin that holds the stream: each gets every part. Without it the origin that has
   * answered is the only one.
   */
  origins: z.array(z.string().regex(ORIGIN_URL_PATTERN)).min(1).max(8).optional(),
});
export type TimelineGrant = z.infer<typeof TimelineGrant>;

/** Why a broadcaster has gone. `unpublished`: it said so; `lost`: it vanished. */
export const END_REASONS = ['unpublished', 'lost', 'revoked', 'error'] as const;
export const EndRequest = z.strictObject({
  sessionId: z.uuid(),
  fencingToken: z.int().min(1),
  reason: z.enum(END_REASONS),
});
export type EndRequest = z.infer<typeof EndRequest>;
