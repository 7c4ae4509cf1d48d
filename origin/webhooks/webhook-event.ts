import { z } from 'zod';
import { STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';

/** What a webhook may be told of. */
export const WEBHOOK_EVENTS = [
  'stream.live',
  'stream.reconnecting',
  'stream.ended',
  'stream.failover',
  'recording.ready',
] as const;
export type WebhookEventType = (typeof WEBHOOK_EVENTS)[number];

/** Something that has happened. */
export type WebhookEvent = {
  readonly type: WebhookEventType;
  readonly tenantId: string;
  readonly streamId: string;
  readonly atMs: number;
  /** The same for everybody who sees the same thing happen; it is told once. */
  readonly occurrence: string;
  readonly data: Readonly<Record<string, string | null>>;
};

const Time = z.iso.datetime();
const stream = { streamId: z.string().regex(STREAM_ID_PATTERN), name: z.string() };
const session = { ...stream, sessionId: z.string() };

const DATA = {
  'stream.live': z.strictObject(session),
  'stream.reconnecting': z.strictObject(session),
  'stream.ended': z.strictObject(session),
  'stream.failover': z.strictObject({
    ...session,
    part: z
      .enum(['origin', 'encoder'])
      .describe('What the broadcast goes on with anew: another origin, or an encoder that began again'),
  }),
  'recording.ready': z.strictObject({
    ...stream,
    recordingId: z.string(),
    startedAt: Time,
    endedAt: Time,
    expiresAt: Time,
  }),
} as const satisfies Record<WebhookEventType, z.ZodType>;

/** The body of a request to a webhook. */
export const webhookPayload = (type: WebhookEventType) =>
  z.strictObject({
    id: z.string().describe('The same in every attempt; also the header webhook-id'),
    type: z.literal(type),
    timestamp: Time.describe('When it happened'),
    tenantId: z.string(),
    data: DATA[type],
  });
