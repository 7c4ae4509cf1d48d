import { z } from 'zod';
import { STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import { PATHWAY_ID_PATTERN } from '#protocol/steering/pathway-id.ts';

/** Most streams whose health differs from that of their CDNs that one snapshot lists; the worst are kept. */
export const SNAPSHOT_STREAMS_MAX = 256;
/** Most places (countries, networks) where viewers fare differently that one snapshot lists. */
export const SNAPSHOT_PLACES_MAX = 256;
/** Most CDNs of a snapshot. */
export const SNAPSHOT_CDNS_MAX = 64;

const CdnName = z.string().regex(PATHWAY_ID_PATTERN);
const Share = z.number().min(0).max(1);

/** One CDN as the decision sees it. */
export const SnapshotCdn = z.object({
  name: CdnName,
  /** Where its playlists are: `{baseUrl}/live/{streamId}/master.m3u8`. */
  baseUrl: z.string().max(512),
  /** Belongs into playlists even while disabled, so that it can come back for the sessions that run. */
  enabled: z.boolean(),
  /** The weight of ops, lowered where the CDN is full or dear. 0: being drained. */
  weight: z.number().min(0),
  /** 0 = dead … 1 = healthy, as the steering servers agree; multiplies the weight. */
  health: Share,
  priorityClass: z.int().min(1),
  /** Sessions whose playlist is of an earlier generation do not know its pathway. */
  addedGeneration: z.int().min(0),
  countries: z.array(z.string()),
  asns: z.array(z.int()),
});
export type SnapshotCdn = z.infer<typeof SnapshotCdn>;

/**
 * `GET /steering/v1/snapshot`: everything that the decision for a session depends on, so that whoever holds the same
 * snapshot and the same code (`pathway-priority.ts`) decides alike. `ETag`; `Cache-Control: max-age=1`.
 */
export const SteeringSnapshot = z.object({
  version: z.literal(1),
  /** Generation of the registry; the same on all nodes. Goes into the tokens of new sessions. */
  generation: z.int().min(0),
  /** Everything looked dead, so the last health known to be good is shown instead. */
  panic: z.boolean(),
  /** Something is wrong or being changed: players are asked to come back soon. */
  event: z.boolean(),
  cdns: z.array(SnapshotCdn).max(SNAPSHOT_CDNS_MAX),
  /** Priority classes that are full, and the share of sessions that passes on to the next class. */
  spill: z.array(z.object({ priorityClass: z.int().min(1), share: Share })),
  /** Streams that fare differently on some CDN: the health there, in place of the CDN's own. */
  streams: z.record(z.string().regex(STREAM_ID_PATTERN), z.record(CdnName, Share)),
  /** Networks (`AS3320`) and countries (`DE`) where viewers fare worse on some CDN: a factor on top of its health. */
  places: z.record(z.string().regex(/^(?:AS\d{1,10}|[A-Z]{2})$/), z.record(CdnName, Share)),
});
export type SteeringSnapshot = z.infer<typeof SteeringSnapshot>;

/** What is known before anything is: no CDN at all. */
export const EMPTY_SNAPSHOT: SteeringSnapshot = {
  version: 1,
  generation: 0,
  panic: false,
  event: false,
  cdns: [],
  spill: [],
  streams: {},
  places: {},
};
