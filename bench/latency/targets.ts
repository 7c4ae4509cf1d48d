import type { PlayerMode } from '#bench/latency/options.ts';

/** The most a figure may be. Milliseconds, but for the stalls. */
export type Targets = {
  readonly glassP50?: number;
  readonly glassP95: number;
};

/** What the README promises for glass → screen, by player and by part length. */
export function glassTargets(mode: PlayerMode, partDurationMs: number): Targets | undefined {
  const known: Readonly<Record<PlayerMode, Readonly<Record<number, Targets>>>> = {
    bare: { 333: { glassP50: 1_550, glassP95: 1_700 }, 200: { glassP50: 1_400, glassP95: 1_600 } },
    own: { 333: { glassP95: 1_100 }, 200: { glassP95: 900 } },
  };
  return known[mode][partDurationMs];
}

/** Last frame of a part at the ingest → part fetchable at the origin, p95. */
export const AVAILABILITY_P95_MS = 150;
/** First picture after opening the page, the slowest of all loads. */
export const FIRST_PICTURE_MS = 1_200;
export const STALLS = 0;
