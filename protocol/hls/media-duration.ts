/** An exact length of media: `ticks / timescale` seconds. Seconds exist only in the text of a playlist. */
export type MediaDuration = { readonly ticks: number; readonly timescale: number };

const DECIMALS = 5;
const SCALE = 10 ** DECIMALS;

/**
 * Seconds with five decimals, rounded down: rounding can then never lift a part above PART-TARGET, which CoreMedia
 * answers by refusing the stream, nor a segment above TARGETDURATION.
 */
export function formatSeconds(duration: MediaDuration): string {
  const scaled = Math.floor((duration.ticks * SCALE) / duration.timescale);
  const whole = Math.floor(scaled / SCALE);
  return `${whole}.${String(scaled - whole * SCALE).padStart(DECIMALS, '0')}`;
}

/** Seconds with three decimals of a whole number of milliseconds; exact. */
export function formatMilliseconds(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(3);
}

/** Fractional milliseconds. */
export function toMilliseconds(duration: MediaDuration): number {
  return (duration.ticks * 1000) / duration.timescale;
}
