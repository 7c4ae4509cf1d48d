const STORAGE_KEY = 'player.bandwidthBps';
const GUESS_BPS = 1_500_000;
const MIN_BPS = 300_000;
const MAX_BPS = 20_000_000;
/** Begin a little below what was measured: a first rung too high costs a stall, one too low a few seconds of blur. */
const CAUTION = 0.8;

/** Bandwidth to choose the first rung by: the last one measured here, else the browser's own idea, else a guess. */
export function initialBandwidthBps(): number {
  const remembered = Number(read());
  if (Number.isFinite(remembered) && remembered > 0) return clamp(remembered * CAUTION);
  const megabits = networkInformation()?.downlink;
  return megabits === undefined ? GUESS_BPS : clamp(megabits * 1_000_000 * CAUTION * CAUTION);
}

/** Keeps a measured bandwidth for the next start. */
export function rememberBandwidth(bandwidthBps: number): void {
  if (!Number.isFinite(bandwidthBps) || bandwidthBps <= 0) return;
  try {
    window.localStorage.setItem(STORAGE_KEY, String(Math.round(bandwidthBps)));
  } catch {
    // Storage may be forbidden or full; the next start then guesses, nothing else is lost.
    return;
  }
}

function read(): string | null {
  try {
    return window.localStorage.getItem(STORAGE_KEY);
  } catch {
    // Storage is forbidden in this browser: as if nothing had been remembered.
    return null;
  }
}

function clamp(bandwidthBps: number): number {
  return Math.min(MAX_BPS, Math.max(MIN_BPS, bandwidthBps));
}

function networkInformation(): { readonly downlink?: number } | undefined {
  return (navigator as { readonly connection?: { readonly downlink?: number } }).connection;
}
