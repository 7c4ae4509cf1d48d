import { z } from 'zod';
import { LadderSettings, STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import { API_SCOPES } from '#origin/registry/api-keys-table.ts';
import { WEBHOOK_EVENTS } from '#origin/webhooks/webhook-event.ts';

// What the API answers. Handlers give these types, the OpenAPI document describes them, a test holds answers against both.

const Time = z.iso.datetime().describe('UTC, ISO 8601');
const Id = z.string().regex(STREAM_ID_PATTERN);
const Playback = z.strictObject({ hls: z.url() });

/** Every error, @spec RFC 9457. */
export const ProblemAnswer = z.strictObject({
  type: z.string(),
  status: z.int(),
  code: z.string().describe('Stable; programs go by it.'),
  detail: z.string().describe('For people; may change.'),
  errors: z.array(z.strictObject({ field: z.string(), message: z.string() })).optional(),
});

const VideoAnswer = z.strictObject({
  codec: z.string().nullable(),
  width: z.int().nullable(),
  height: z.int().nullable(),
  frameRate: z.number().nullable(),
});
const status = {
  status: z.enum(['live', 'reconnecting', 'offline']),
  startedAt: Time.nullable(),
  video: VideoAnswer.nullable(),
  audio: z.strictObject({ codec: z.string() }).nullable(),
  bitrateBps: z.number().nullable().describe('Of what the broadcaster sends'),
  latencyMs: z.number().nullable().describe('Last frame of the newest part at the ingest to part playable'),
  viewersWaiting: z.int(),
};

/** A stream without its keys. */
export const StreamAnswer = z.strictObject({
  id: Id,
  name: z.string(),
  ...status,
  ingest: z.array(z.string()).readonly(),
  playback: Playback,
  ladder: LadderSettings,
  segmentDurationMs: z.int(),
  partDurationMs: z.int(),
  reconnectWindow: z.int().describe('Seconds'),
  dvrWindow: z.int().describe('Seconds'),
  retention: z.int().describe('Seconds'),
  access: z.enum(['public', 'token']),
  createdAt: Time,
  updatedAt: Time,
});

export const StreamKeyAnswer = z.strictObject({
  id: z.string(),
  createdAt: Time,
  expiresAt: Time.nullable(),
});

/** A single stream; `streamKey` and `publishUrls` only in the answer to the request that made the key. */
export const StreamDetailAnswer = StreamAnswer.extend({
  keys: z.array(StreamKeyAnswer),
  streamKey: z.string().optional().describe('Shown this once'),
  publishUrls: z.array(z.string()).optional(),
});

const nextCursor = z.string().nullable().describe('Where the next page begins; null on the last one');
export const StreamListAnswer = z.strictObject({ streams: z.array(StreamAnswer), nextCursor });

export const StreamStatsAnswer = z.strictObject({
  id: Id,
  ...status,
  session: z
    .strictObject({ id: z.string(), startedAt: Time, remoteAddress: z.string() })
    .optional()
    .describe('Absent while nobody publishes'),
  renditions: z
    .array(
      z.strictObject({
        id: z.string(),
        kind: z.enum(['video', 'audio']),
        codecs: z.string(),
        width: z.int().nullable(),
        height: z.int().nullable(),
        frameRate: z.number().nullable(),
        nominalBitrateBps: z.number(),
        averageBitrateBps: z.number().nullable(),
        peakBitrateBps: z.number().nullable(),
        storeLatencyMs: z.number().nullable(),
        lastMsn: z.int(),
        lastPart: z.int(),
      }),
    )
    .readonly(),
  lastMsn: z.int().nullable(),
  timelines: z.int(),
  windowBytes: z.int(),
});

export const RecordingListAnswer = z.strictObject({
  recordings: z.array(
    z.strictObject({
      id: z.string(),
      status: z.enum(['recording', 'ended']),
      startedAt: Time,
      endedAt: Time.nullable(),
      expiresAt: Time.nullable(),
      playback: Playback,
    }),
  ),
  nextCursor,
});

export const PlaybackTokenAnswer = z.strictObject({
  token: z.string(),
  format: z.enum(['hmac', 'cat']),
  expiresAt: Time,
  playback: Playback,
});

const { status: state, ...liveStatus } = status;
export const LiveListAnswer = z.strictObject({
  streams: z.array(
    z.strictObject({
      id: Id,
      name: z.string(),
      access: z.enum(['public', 'token']),
      state,
      playback: Playback,
      startedAt: liveStatus.startedAt,
      video: liveStatus.video,
      audio: liveStatus.audio,
      viewersWaiting: liveStatus.viewersWaiting,
    }),
  ),
});

export const TenantAnswer = z.strictObject({
  id: z.string(),
  name: z.string(),
  streamsMax: z.int().nullable(),
  liveMax: z.int().nullable(),
  createdAt: Time,
  updatedAt: Time,
});
export const TenantListAnswer = z.strictObject({ tenants: z.array(TenantAnswer), nextCursor });

export const ApiKeyAnswer = z.strictObject({
  id: z.string(),
  name: z.string(),
  scopes: z.array(z.enum(API_SCOPES)).readonly(),
  createdAt: Time,
  expiresAt: Time.nullable(),
  lastUsedAt: Time.nullable().describe('To a minute'),
});
export const NewApiKeyAnswer = ApiKeyAnswer.extend({ key: z.string().describe('Shown this once') });
export const ApiKeyListAnswer = z.strictObject({ apiKeys: z.array(ApiKeyAnswer), nextCursor });

const Audited = z.record(z.string(), z.unknown()).nullable();
export const AuditListAnswer = z.strictObject({
  entries: z.array(
    z.strictObject({
      id: z.string(),
      at: Time,
      actor: z.string(),
      action: z.string(),
      streamId: z.string().nullable(),
      subject: z.string().nullable(),
      requestId: z.string(),
      before: Audited,
      after: Audited,
    }),
  ),
  nextCursor,
});

export const WebhookAnswer = z.strictObject({
  id: z.string(),
  url: z.string(),
  events: z.array(z.enum(WEBHOOK_EVENTS)).readonly(),
  enabled: z.boolean(),
  createdAt: Time,
  updatedAt: Time,
});
export const WebhookListAnswer = z.strictObject({ webhooks: z.array(WebhookAnswer), nextCursor });
export const WebhookDeliveryListAnswer = z.strictObject({
  deliveries: z.array(
    z.strictObject({
      id: z.string(),
      eventId: z.string(),
      type: z.enum(WEBHOOK_EVENTS),
      streamId: Id,
      eventAt: Time,
      state: z.enum(['pending', 'delivered', 'failed']),
      attempts: z.int(),
      nextAt: Time.nullable(),
      lastAt: Time.nullable(),
      lastStatus: z.int().nullable(),
      lastError: z.string().nullable(),
    }),
  ),
  nextCursor,
});
