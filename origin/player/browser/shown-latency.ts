/** How far a wall-clock latency may lie from the playlist's before this machine's clock is taken to be wrong. */
const CLOCK_BELIEVED_S = 5;

/**
 * From the broadcaster's ingest to the screen where this machine's clock can be believed, else from the live edge of the
 * playlist to the screen.
 */
export function shownLatencyS(figures: {
  readonly latencyS: number | undefined;
  readonly wallClockLatencyS: number | undefined;
}): number | undefined {
  const { latencyS, wallClockLatencyS } = figures;
  if (latencyS === undefined || wallClockLatencyS === undefined) return latencyS;
  const difference = wallClockLatencyS - latencyS;
  return difference > -0.3 && difference < CLOCK_BELIEVED_S ? wallClockLatencyS : latencyS;
}
