import { z } from 'zod';
import { ORIGIN_URL_PATTERN, STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';

/** An origin is named by the URL at which its peers reach it. */
export const NodeUrl = z.string().regex(ORIGIN_URL_PATTERN).max(256);

/** What every origin says on the bus, all the time. */
export const NodeAnnouncement = z.object({
  nodeUrl: NodeUrl,
  /** Wall clock of its start, ms since the Unix epoch: tells a restarted node from the one before. */
  startedAtMs: z.number(),
  /** It takes no new streams. */
  draining: z.boolean(),
  /** Streams that it holds. */
  load: z.int().min(0),
  /** Grows with every change of {@link NodeState}'s lists. */
  stateVersion: z.int().min(0),
});
export type NodeAnnouncement = z.infer<typeof NodeAnnouncement>;

/** Which origins hold a stream, the first one deciding. A higher version replaces a lower one. */
export const StreamHolders = z.object({
  streamId: z.string().regex(STREAM_ID_PATTERN),
  sessionId: z.string().max(64),
  fencingToken: z.int().min(0),
  version: z.int().min(0),
  nodeUrls: z.array(NodeUrl).max(8),
});
export type StreamHolders = z.infer<typeof StreamHolders>;

const RenditionState = z.object({
  id: z.string(),
  kind: z.enum(['video', 'audio']),
  codecs: z.string(),
  width: z.number().nullable(),
  height: z.number().nullable(),
  frameRate: z.number().nullable(),
  nominalBitrateBps: z.number(),
  averageBitrateBps: z.number().nullable(),
  peakBitrateBps: z.number().nullable(),
  storeLatencyMs: z.number().nullable(),
  lastMsn: z.number(),
  lastPart: z.number(),
});

/** A stream as its holder shows it. */
const LiveState = z.object({
  state: z.enum(['live', 'reconnecting', 'ended']),
  lastMsn: z.number(),
  lastPart: z.number(),
  renditions: z.array(RenditionState).max(64),
  waiters: z.number(),
  timelines: z.number(),
  windowBytes: z.number(),
  isStale: z.boolean(),
});

/** A publish session as the origin shows it that the broadcaster's ingest talks to. */
const SessionState = z.object({
  streamId: z.string(),
  sessionId: z.string(),
  startedAtMs: z.number(),
  remoteAddress: z.string(),
  source: z
    .object({
      videoCodec: z.string().nullable(),
      audioCodec: z.string().nullable(),
      width: z.number().nullable(),
      height: z.number().nullable(),
      frameRate: z.number().nullable(),
      bitrateBps: z.number().nullable(),
    })
    .nullable(),
});

/** `GET /internal/v1/node`: everything that the other origins need to know of one. */
export const NodeState = NodeAnnouncement.extend({
  held: z.array(z.object({ holders: StreamHolders, status: LiveState })).max(10_000),
  sessions: z.array(SessionState).max(20_000),
});
export type NodeState = z.infer<typeof NodeState>;
