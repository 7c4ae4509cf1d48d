import { combineHash64, hash64, unitInterval, type Hash64 } from '#protocol/placement/hash64.ts';
import { placementKey, rendezvousScore } from '#protocol/placement/weighted-rendezvous.ts';
import { DEFAULT_PATHWAY_ID } from '#protocol/steering/pathway-id.ts';
import type { SnapshotCdn, SteeringSnapshot } from '#protocol/steering/steering-snapshot.ts';

/** A session as far as the decision looks at it. */
export type SteeredSession = {
  readonly sessionId: string;
  readonly streamId: string;
  /** Generation of the session's playlist; 0 when that is not known, and every pathway then counts as declared. */
  readonly generation: number;
  /** ISO 3166-1 alpha-2, upper case; `undefined` when nobody that is trusted has said. */
  readonly country: string | undefined;
  readonly asn: number | undefined;
};

/** A snapshot made ready for many decisions. */
export type SteeringPicture = {
  readonly snapshot: SteeringSnapshot;
  readonly cdns: readonly PreparedCdn[];
  readonly spill: readonly {
    readonly priorityClass: number;
    readonly share: number;
    readonly hash: Hash64;
  }[];
  /** Whether any CDN is limited to regions, so that the origin of a viewer matters at all. */
  readonly regional: boolean;
};

/** What viewers say of a CDN in one place never takes more of its weight there. */
const EXPERIENCE_MIN = 0.1;

type PreparedCdn = SnapshotCdn & {
  readonly hash: Hash64;
  readonly countrySet: ReadonlySet<string>;
  readonly asnSet: ReadonlySet<number>;
};

/** Hashes what can be hashed once. */
export function prepareSnapshot(snapshot: SteeringSnapshot): SteeringPicture {
  const cdns = snapshot.cdns.map((cdn) => ({
    ...cdn,
    hash: hash64(cdn.name),
    countrySet: new Set(cdn.countries),
    asnSet: new Set(cdn.asns),
  }));
  return {
    snapshot,
    cdns,
    spill: snapshot.spill
      .filter(({ share }) => share > 0)
      .map((entry) => ({ ...entry, hash: hash64(`spill:${entry.priorityClass}`) })),
    regional: cdns.some((cdn) => cdn.countrySet.size > 0 || cdn.asnSet.size > 0),
  };
}

/**
 * The decision: all pathways that work for a session, best first. Never empty, never of one entry while two work.
 *
 * In this order: what the session's region allows before what it does not, lower priority classes before higher ones (a
 * full class behind them for the share that passes on), and within these by weighted rendezvous hashing. CDNs being
 * drained come last; dead and disabled ones are left out. When nothing would be left it fails static: what is enabled
 * counts as alive, and with nothing enabled, everything.
 */
export function pathwayPriority(picture: SteeringPicture, session: SteeredSession): string[] {
  const healthHere = picture.snapshot.streams[session.streamId];
  const healthOf = (cdn: SnapshotCdn): number => healthHere?.[cdn.name] ?? cdn.health;
  let candidates = picture.cdns.filter((cdn) => cdn.enabled && healthOf(cdn) > 0);
  let health = healthOf;
  if (candidates.length === 0) {
    candidates = picture.cdns.filter((cdn) => cdn.enabled && cdn.health > 0);
    health = (cdn) => cdn.health;
  }
  if (candidates.length === 0) {
    const enabled = picture.cdns.filter((cdn) => cdn.enabled);
    candidates = enabled.length > 0 ? enabled : [...picture.cdns];
    health = () => 1;
  }
  if (candidates.length === 0) return [DEFAULT_PATHWAY_ID];
  const experience = experienceAt(picture.snapshot.places, session);

  const key = placementKey(session.sessionId, session.streamId);
  const full = new Set<number>();
  for (const { priorityClass, share, hash } of picture.spill)
    if (unitInterval(combineHash64(key, hash)) < share) full.add(priorityClass);
  const scored = candidates.map((cdn) => ({
    cdn,
    tier: tierOf(cdn, session, full),
    score: rendezvousScore(
      key,
      cdn.hash,
      cdn.weight === 0 ? 1 : cdn.weight * health(cdn) * experience(cdn.name),
    ),
  }));
  scored.sort((a, b) => a.tier - b.tier || b.score - a.score || (a.cdn.name < b.cdn.name ? -1 : 1));
  return declaredFirst(
    scored.map(({ cdn }) => cdn),
    session.generation,
  );
}

/** Whether a CDN may be asked from where the session is. Nobody knows where: then it may. */
export function servesRegion(
  cdn: PreparedCdn,
  from: { readonly country: string | undefined; readonly asn: number | undefined },
): boolean {
  const { countrySet, asnSet } = cdn;
  if (countrySet.size === 0 && asnSet.size === 0) return true;
  if (from.country !== undefined && countrySet.has(from.country)) return true;
  if (from.asn !== undefined && asnSet.has(from.asn)) return true;
  const countryMissed = countrySet.size > 0 && from.country !== undefined;
  const asnMissed = asnSet.size > 0 && from.asn !== undefined;
  return !countryMissed && !asnMissed;
}

/**
 * How viewers like this one fare on a CDN, compared with all viewers: by its network where enough is known of that, else by
 * its country. It moves weight; it never takes a CDN out.
 */
function experienceAt(
  places: SteeringSnapshot['places'],
  { country, asn }: SteeredSession,
): (name: string) => number {
  const network = asn === undefined ? undefined : places[`AS${asn}`];
  const nation = country === undefined ? undefined : places[country];
  if (network === undefined && nation === undefined) return () => 1;
  return (name) => Math.max(EXPERIENCE_MIN, network?.[name] ?? nation?.[name] ?? 1);
}

/** Smaller is better; the steps are further apart than there are classes (1…9). */
function tierOf(cdn: PreparedCdn, session: SteeredSession, full: ReadonlySet<number>): number {
  const drained = cdn.weight === 0 ? 1_000 : 0;
  const outOfRegion = servesRegion(cdn, session) ? 0 : 100;
  const passedOn = full.has(cdn.priorityClass) ? 10 : 0;
  return drained + outOfRegion + passedOn + cdn.priorityClass;
}

/** A pathway that the playlist lacks helps nobody, but a list of one would switch the player's own failover off. */
function declaredFirst(ranked: readonly PreparedCdn[], generation: number): string[] {
  const isDeclared = (cdn: PreparedCdn): boolean => generation === 0 || cdn.addedGeneration <= generation;
  const declared = ranked.filter(isDeclared);
  const list = declared.length >= 2 ? declared : [...declared, ...ranked.filter((cdn) => !isDeclared(cdn))];
  return list.map((cdn) => cdn.name);
}
