import { z } from 'zod';

/** Channel on which the nodes tell one another what they see. */
export const REPORT_CHANNEL = 'steering:report';
/** How often each node reports, changed or not. */
export const REPORT_INTERVAL_MS = 1_000;
/** A node's view of health counts until it has been silent for this long. */
export const REPORT_EXPIRY_MS = 5_000;
/** Its viewers are let go of over this time: they ask again elsewhere within a TTL. */
export const DEMAND_EXPIRY_MS = 30_000;
/** Most pairs of stream and CDN, and of place and CDN, in one report; most nodes listened to. */
export const REPORT_STREAMS_MAX = 200;
export const REPORT_PLACES_MAX = 200;
/** Most pairs of stream and CDN whose viewers are told to the other nodes, those with most viewers. */
export const REPORT_STREAM_VIEWERS_MAX = 100;
export const NODES_MAX = 64;

const Factor = z.number().min(0).max(1);
const Viewers = z.record(z.string().max(256), z.number().min(0).max(1e12));

/** What a node sees of one CDN. */
export const HealthVote = z.object({
  factor: Factor,
  state: z.enum(['healthy', 'suspect', 'ejected', 'ramping', 'unknown']),
  /** The node sees all CDNs failing, which says more about the node, or the origin, than about this CDN. */
  allFailing: z.boolean(),
});
export type HealthVote = z.infer<typeof HealthVote>;

/** What one steering node sees: the health of the CDNs from where it stands, and its own viewers. */
export const NodeReport = z.object({
  node: z.uuid(),
  /** The node is leaving: its view counts no more. */
  leaving: z.boolean(),
  /** Generation of the registry that the region groups refer to. */
  generation: z.int().min(0),
  health: z.record(z.string().max(64), HealthVote),
  /** Health factors that the node last knew to be good; what counts while everything fails. */
  held: z.record(z.string().max(64), Factor),
  /** Streams that fare differently on a CDN than the CDN as a whole. */
  streams: z.record(z.string().max(64), z.record(z.string().max(64), Factor)),
  /** Countries and networks where this node's viewers fare worse on a CDN than elsewhere, if enough of them say so. */
  places: z.record(z.string().regex(/^(?:AS\d{1,10}|[A-Z]{2})$/), z.record(z.string().max(64), Factor)),
  demand: z.object({
    cdns: Viewers,
    regionGroups: Viewers,
    /** The pairs of stream and CDN with most viewers, for people; a node of an earlier version tells none. */
    streams: z
      .array(z.object({ streamId: z.string().max(64), cdn: z.string().max(64), viewers: z.number().min(0) }))
      .max(REPORT_STREAM_VIEWERS_MAX)
      .default([]),
  }),
});
export type NodeReport = z.infer<typeof NodeReport>;
