import { z } from 'zod';
import { PublishGrant } from '#protocol/ingest/publish-session.ts';
import { LOG_LEVELS } from '#runtime/log.ts';
import { DEFAULT_INGEST_LIMITS, type IngestSettings } from './ingest-settings.ts';

/**
 * What the supervisor and its ingest process say to each other over Node's IPC. Packets do not go this way, stream keys
 * never do.
 */
const Settings: z.ZodType<IngestSettings> = z.object({
  rtmpPort: z.int().min(0).max(65_535),
  rtmpHost: z.string(),
  originUrls: z.array(z.url()).min(1),
  ingestToken: z.string(),
  limits: z.record(z.string(), z.number()).transform((limits) => ({ ...DEFAULT_INGEST_LIMITS, ...limits })),
});

export const ToIngestMessage = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('start'),
    settings: Settings,
    relayPath: z.string(),
    logLevel: z.enum(LOG_LEVELS),
  }),
  /** End everything and exit. */
  z.object({ type: z.literal('stop') }),
]);
export type ToIngestMessage = z.infer<typeof ToIngestMessage>;

/** The values of one metric by its property name in `createIngestMetrics`. */
export const MetricSample = z.object({
  metric: z.string(),
  values: z.array(
    z.object({ labels: z.record(z.string(), z.union([z.string(), z.number()])), value: z.number() }),
  ),
});
export type MetricSample = z.infer<typeof MetricSample>;

export const FromIngestMessage = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ready'), rtmpPort: z.int() }),
  z.object({ type: z.literal('start-failed'), code: z.string(), message: z.string() }),
  z.object({ type: z.literal('publish-started'), grant: PublishGrant }),
  z.object({
    type: z.literal('publish-ended'),
    sessionId: z.uuid(),
    reason: z.enum(['unpublished', 'lost', 'revoked', 'error']),
  }),
  /** Every second; also the sign that the process is not stuck. */
  z.object({ type: z.literal('metrics'), samples: z.array(MetricSample) }),
]);
export type FromIngestMessage = z.infer<typeof FromIngestMessage>;

/** How often the ingest process reports its metrics. */
export const METRICS_INTERVAL_MS = 1_000;
/** Exit status of an ingest process that met an error which nothing caught. */
export const CRASH_EXIT_STATUS = 70;
