/** How long a stream is watched before the next one has its turn. */
export const DWELL_MS = 15_000;

/**
 * Chooses which of the live streams are probed now: the same for all CDNs, so that the origin is asked once for all of
 * them, and the same for a while, so that a fault shows in a row of probes. All streams have their turn. Pure.
 *
 * @param live ids of the live streams, in any order
 * @param count how many are wanted
 */
export function chooseStreams(live: readonly string[], count: number, nowMs: number): readonly string[] {
  const sorted = [...new Set(live)].sort();
  if (sorted.length <= count) return sorted;
  const first = (Math.floor(nowMs / DWELL_MS) * count) % sorted.length;
  return Array.from({ length: count }, (_, slot) => sorted[(first + slot) % sorted.length] ?? '');
}

/**
 * How many streams a round of one CDN may probe within the budget.
 *
 * @param perRoundMax most streams that add anything to the picture of a CDN
 */
export function streamsPerRound(
  budgetPerSecond: number,
  roundsPerSecond: number,
  perRoundMax: number,
): number {
  if (roundsPerSecond <= 0) return perRoundMax;
  return Math.max(1, Math.min(perRoundMax, Math.floor(budgetPerSecond / roundsPerSecond)));
}
