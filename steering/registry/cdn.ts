import { z } from 'zod';
import { PathwayId } from '#protocol/steering/pathway-id.ts';

/** Ops weights are whole numbers from 0 (drain: last in every list) to this. */
export const CDN_WEIGHT_MAX = 1_000;
/** Most CDNs of one registry; an answer lists them all, and every one is hashed for every answer. */
export const CDN_COUNT_MAX = 64;
/** Most entries of one country list and of one ASN list. */
export const REGION_LIST_MAX = 256;

/** How a CDN is to be probed. What is left out follows the steering server's settings. */
export const CdnProbe = z.strictObject({
  /** Without probes a CDN is taken for healthy unless viewers' reports say otherwise. */
  enabled: z.boolean().default(true),
  intervalMs: z.int().min(250).max(60_000).optional(),
  timeoutMs: z.int().min(100).max(30_000).optional(),
  /** Bad probes in a row that make it fall, good ones that let it rise. */
  fall: z.int().min(1).max(20).optional(),
  rise: z.int().min(1).max(20).optional(),
});
export type CdnProbe = z.infer<typeof CdnProbe>;

/** From where a CDN may be asked. Both lists empty: from everywhere. A viewer of unknown origin matches every list. */
export const CdnRegions = z.strictObject({
  /** ISO 3166-1 alpha-2, upper case. */
  countries: z
    .array(z.string().regex(/^[A-Z]{2}$/, 'expected two capital letters'))
    .max(REGION_LIST_MAX)
    .default([]),
  /** Autonomous system numbers. */
  asns: z.array(z.int().min(1).max(4_294_967_295)).max(REGION_LIST_MAX).default([]),
});
export type CdnRegions = z.infer<typeof CdnRegions>;

/** How much a CDN may carry. `null`: without limit. */
export const CdnCapacity = z.strictObject({
  viewersMax: z.int().min(1).max(1_000_000_000).nullable().default(null),
  gbpsMax: z.number().positive().max(1_000_000).nullable().default(null),
});
export type CdnCapacity = z.infer<typeof CdnCapacity>;

/** What a CDN costs; only read by the cost policy (`steering/picture/cost-policy.ts`). */
export const CdnCost = z.strictObject({
  /** Price of a gigabyte, in any one currency that all CDNs share. */
  perGb: z.number().min(0).max(1_000).default(0),
  /** Traffic that is paid for whether used or not; up to it the CDN counts as free. */
  commitGbps: z.number().min(0).max(1_000_000).default(0),
});
export type CdnCost = z.infer<typeof CdnCost>;

/**
 * Where a CDN is reached: `http(s)://host[:port][/path]`, without query, fragment, credentials or a trailing slash, so
 * that `{baseUrl}/live/{streamId}/master.m3u8` is the playlist.
 */
export const CdnBaseUrl = z
  .string()
  .max(512)
  .transform((value) => value.replace(/\/+$/, ''))
  .refine(isBaseUrl, 'expected http(s)://host[:port][/path] without query, fragment or credentials');

/** What an operator sets about a CDN. */
export const CdnConfig = z.strictObject({
  baseUrl: CdnBaseUrl,
  weight: z.int().min(0).max(CDN_WEIGHT_MAX).default(100),
  /** A disabled CDN is in no answer. */
  enabled: z.boolean().default(true),
  /** CDNs of a higher class are used only when no lower class is alive, or all of it is full. */
  priorityClass: z.int().min(1).max(9).default(1),
  probe: CdnProbe.default({ enabled: true }),
  capacity: CdnCapacity.default({ viewersMax: null, gbpsMax: null }),
  cost: CdnCost.default({ perGb: 0, commitGbps: 0 }),
  regions: CdnRegions.default({ countries: [], asns: [] }),
});
export type CdnConfig = z.infer<typeof CdnConfig>;

/** A CDN as the registry holds it. */
export const Cdn = CdnConfig.extend({
  name: PathwayId,
  /** The registry's generation at the last change of this CDN; its ETag. */
  generation: z.int().min(1),
  /** The registry's generation at which it was added: sessions that began before do not know its pathway. */
  addedGeneration: z.int().min(1),
  createdAtMs: z.int(),
  updatedAtMs: z.int(),
});
export type Cdn = z.infer<typeof Cdn>;

/** What every part of steering may read of the registry. Reading never waits. */
export type CdnDirectory = {
  /** All CDNs, by name. The array and its entries are never changed in place. */
  list(): readonly Cdn[];
  get(name: string): Cdn | undefined;
  /** Grows with every change of any CDN, the same on every node; 0 before the first. */
  readonly generation: number;
  /** Calls `listener` after each change; the returned function ends that. */
  onChange(listener: () => void): () => void;
};

function isBaseUrl(value: string): boolean {
  if (!/^https?:\/\/[^\s"'<>\\^`{|}]+$/.test(value) || !URL.canParse(value)) return false;
  const url = new URL(value);
  return url.username === '' && url.password === '' && !value.includes('?') && !value.includes('#');
}
