import type { LevelDetails } from 'hls.js';
import { entryBehindGapS, isOver } from './live-edge.ts';

/** What {@link StandstillExit.find} looks at while the picture stands against the viewer's will. */
export type Standstill = {
  readonly nowMs: number;
  /** For how long it has been standing. */
  readonly stalledMs: number;
  readonly currentTimeS: number;
  /** Where the next buffered range after the playhead can be entered. */
  readonly nextRangeS: number | undefined;
  readonly details: LevelDetails | null;
  /** Whether the player keeps up with the live edge. */
  readonly following: boolean;
};

/** A hole in the buffer is stepped over after this long. */
const HOLE_WAIT_MS = 300;
/** After this long the player looks for media behind a gap of the broadcast, and so often again. */
const GAP_WAIT_MS = 800;
const GAP_SEEK_PAUSE_MS = 1_500;

/** Finds the way out of a standstill that does not end by itself. The caller carries it out. */
export class StandstillExit {
  #gapSoughtMs = Number.NEGATIVE_INFINITY;

  /** A position to seek to, `over` when nothing more will come, undefined to wait on. */
  find(standstill: Standstill): number | 'over' | undefined {
    const { nowMs, stalledMs, currentTimeS, nextRangeS, details, following } = standstill;
    if (stalledMs > HOLE_WAIT_MS && nextRangeS !== undefined) return nextRangeS;
    if (details === null || stalledMs <= GAP_WAIT_MS) return undefined;
    if (isOver(details, currentTimeS)) return 'over';
    if (!following || nowMs - this.#gapSoughtMs < GAP_SEEK_PAUSE_MS) return undefined;
    const entryS = entryBehindGapS(details, currentTimeS);
    if (entryS !== undefined) this.#gapSoughtMs = nowMs;
    return entryS;
  }
}
