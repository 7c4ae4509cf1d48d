import { z } from 'zod';
import { PathwayId } from '#protocol/steering/pathway-id.ts';

/** Ops weights are whole numbers from 0 (drain: last in every list) to this. */
export const CDN_WEIGHT_MAX = 1_000;
/** Most CDNs of one registry; an answer lists them all, and every one is hashed for every answer. */
export const CDN_COUNT_MAX = 64;
/** Most entries of one country list and of one ASN list. */
export const REGION_LIST_MAX = 256;

/**
 * Where a CDN is reached: `http(s)://host[:port][/path]`, without query, fragment, credentials or a trailing slash, so
 * that `{baseUrl}/live/{streamId}/master.m3u8` is the playlist.
 */
export const CdnBaseUrl = z
  .string()
  .max(512)
  .transform((value) => value.replace(/\/+$/, ''))
  .refine(isBaseUrl, 'expected http(s)://host[:port][/path] without query, fragment or credentials');

const Weight = z.int().min(0).max(CDN_WEIGHT_MAX);
const PriorityClass = z.int().min(1).max(9);

/** How a CDN is to be probed. What is left out follows the steering server's settings. */
const probe = {
  intervalMs: z.int().min(250).max(60_000),
  timeoutMs: z.int().min(100).max(30_000),
  /** Bad probes in a row that make it fall, good ones that let it rise. */
  fall: z.int().min(1).max(20),
  rise: z.int().min(1).max(20),
};
/** How much a CDN may carry. `null`: without limit. */
const capacity = {
  viewersMax: z.int().min(1).max(1_000_000_000).nullable(),
  gbpsMax: z.number().positive().max(1_000_000).nullable(),
};
/** What a CDN costs; only read by the cost policy (`steering/picture/cost-policy.ts`). */
const cost = {
  /** Price of a gigabyte, in any one currency that all CDNs share. */
  perGb: z.number().min(0).max(1_000),
  /** Traffic that is paid for whether used or not; up to it the CDN counts as free. */
  commitGbps: z.number().min(0).max(1_000_000),
};
/** From where a CDN may be asked. Both lists empty: from everywhere. A viewer of unknown origin matches every list. */
const regions = {
  /** ISO 3166-1 alpha-2, upper case. */
  countries: z.array(z.string().regex(/^[A-Z]{2}$/, 'expected two capital letters')).max(REGION_LIST_MAX),
  /** Autonomous system numbers. */
  asns: z.array(z.int().min(1).max(4_294_967_295)).max(REGION_LIST_MAX),
};

/** What an operator sets about a CDN. */
export const CdnConfig = z.strictObject({
  baseUrl: CdnBaseUrl,
  weight: Weight.default(100),
  /** A disabled CDN is in no answer. */
  enabled: z.boolean().default(true),
  /** CDNs of a higher class are used only when no lower class is alive, or all of it is full. */
  priorityClass: PriorityClass.default(1),
  probe: z
    .strictObject({
      /** Without probes a CDN is taken for healthy unless viewers' reports say otherwise. */
      enabled: z.boolean().default(true),
      intervalMs: probe.intervalMs.optional(),
      timeoutMs: probe.timeoutMs.optional(),
      fall: probe.fall.optional(),
      rise: probe.rise.optional(),
    })
    .prefault({}),
  capacity: z
    .strictObject({
      viewersMax: capacity.viewersMax.default(null),
      gbpsMax: capacity.gbpsMax.default(null),
    })
    .prefault({}),
  cost: z.strictObject({ perGb: cost.perGb.default(0), commitGbps: cost.commitGbps.default(0) }).prefault({}),
  regions: z
    .strictObject({ countries: regions.countries.default([]), asns: regions.asns.default([]) })
    .prefault({}),
});
export type CdnConfig = z.infer<typeof CdnConfig>;
export type CdnProbe = CdnConfig['probe'];
export type CdnRegions = CdnConfig['regions'];

/** A change of a CDN as a merge patch: what is left out stays, `null` goes back to the default. @spec RFC 7396 */
export const CdnPatch = z
  .strictObject({
    baseUrl: CdnBaseUrl,
    weight: Weight.nullable(),
    enabled: z.boolean().nullable(),
    priorityClass: PriorityClass.nullable(),
    probe: nullable({ enabled: z.boolean(), ...probe }),
    capacity: nullable(capacity),
    cost: nullable(cost),
    regions: nullable(regions),
  })
  .partial();
export type CdnPatch = z.infer<typeof CdnPatch>;

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

/** Applies a patch; the result has every field. */
export function patchCdnConfig(config: CdnConfig, patch: CdnPatch): CdnConfig {
  return CdnConfig.parse(mergePatch(config, patch));
}

/** The settings of a CDN without what the registry knows about it. */
export function configOf(cdn: Cdn): CdnConfig {
  const { baseUrl, weight, enabled, priorityClass, probe, capacity, cost, regions } = cdn;
  return { baseUrl, weight, enabled, priorityClass, probe, capacity, cost, regions };
}

function nullable<Shape extends z.ZodRawShape>(shape: Shape) {
  const fields = Object.entries(shape).map(([name, type]) => [name, (type as z.ZodType).nullable()]);
  return z
    .strictObject(Object.fromEntries(fields) as { [Name in keyof Shape]: z.ZodNullable<Shape[Name]> })
    .partial()
    .nullable();
}

function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isPlainObject(patch)) return patch;
  const merged: Record<string, unknown> = isPlainObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === undefined) continue;
    if (value === null) delete merged[name];
    else merged[name] = mergePatch(merged[name], value);
  }
  return merged;
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isBaseUrl(value: string): boolean {
  if (!/^https?:\/\/[^\s"'<>\\^`{|}]+$/.test(value) || !URL.canParse(value)) return false;
  const url = new URL(value);
  return url.username === '' && url.password === '' && !value.includes('?') && !value.includes('#');
}
