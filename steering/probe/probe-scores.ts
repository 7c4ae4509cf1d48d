import {
  hasReached,
  newestPart,
  type EdgePosition,
  type ReadMediaPlaylist,
} from '#protocol/hls/read-media-playlist.ts';

/**
 * The scales on which measurements become scores. Each is the value up to which the score is 1 and the value from which
 * it is 0, linear in between; they follow from what a player with a buffer of three parts can bear.
 */
export const SCALES = {
  /** DNS + TCP + TLS, ms. A player pays it once per pathway switch. */
  connectMs: { good: 400, bad: 1_600 },
  /** First byte of what a cache has, ms. */
  firstByteMs: { good: 250, bad: 1_000 },
  /** How much later than at the origin a held answer comes, ms. nginx alone may add 500. */
  lateMs: { good: 600, bad: 1_200 },
  /** Goodput as a multiple of the top rung's bandwidth. */
  goodputRatio: { good: 1.25, bad: 0.25 },
} as const;

/** Score of a measurement on a scale whose ends may be either way round. */
export function scoreOn(value: number, scale: { readonly good: number; readonly bad: number }): number {
  const score = (value - scale.bad) / (scale.good - scale.bad);
  return Math.min(1, Math.max(0, score));
}

/**
 * Seconds of media that `reference` has after `position`. A position before everything that it lists counts as the whole
 * of the list; one that is ahead of it as 0.
 */
export function secondsBehind(reference: ReadMediaPlaylist, position: EdgePosition | undefined): number {
  const { msn, part } = position ?? { msn: -1, part: -1 };
  const firstWithParts = reference.parts[0]?.msn ?? Number.POSITIVE_INFINITY;
  let behindS = 0;
  for (const segment of reference.segments)
    if (segment.msn > msn && segment.msn < firstWithParts) behindS += segment.durationS;
  for (const listed of reference.parts)
    if (listed.msn > msn || (listed.msn === msn && listed.part > part)) behindS += listed.durationS;
  return behindS;
}

/** Seconds from which on a playlist counts as frozen: the stale limit of the origins, plus a cache's lifetime. */
export function frozenAfterS(reference: ReadMediaPlaylist): number {
  return Math.max(4 * (reference.partTargetS ?? 0), reference.targetDurationS) + 1;
}

/**
 * Score of the plain playlist's age: full while it is what a cache may hold it for (1 s) and two parts, 0 where it counts
 * as frozen.
 */
export function freshnessScore(reference: ReadMediaPlaylist, behindS: number): number {
  const good = 1 + 2 * (reference.partTargetS ?? reference.targetDurationS);
  return scoreOn(behindS, {
    good: Math.min(good, frozenAfterS(reference) - 0.5),
    bad: frozenAfterS(reference),
  });
}

/**
 * Score of an Age header. Players add it to what the playlist says to find the live edge, so it has to match the age that
 * the content shows; one in seconds can be wrong by 1, the comparison by one more.
 *
 * @param header the value, `undefined` when there is none, which means fresh
 * @spec rfc8216bis Appendix C; RFC 9111 §5.1
 */
export function ageScore(header: string | undefined, behindS: number, targetDurationS: number): number {
  if (header === undefined) return 1;
  if (!/^\d{1,9}$/.test(header)) return 0;
  return scoreOn(Math.abs(Number(header) - behindS), { good: 2, bad: 2 + 2 * targetDurationS });
}

/** Whether a blocking answer shows what was asked for. @spec rfc8216bis §6.2.5.2 */
export function answersReload(playlist: ReadMediaPlaylist, asked: EdgePosition): boolean {
  return playlist.ended || hasReached(playlist, asked);
}

/** The newest part, for comparisons; a playlist that is empty stands before everything. */
export function edgeOf(playlist: ReadMediaPlaylist): EdgePosition {
  return newestPart(playlist) ?? { msn: -1, part: -1 };
}
