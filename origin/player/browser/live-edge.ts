import type { LevelDetails } from 'hls.js';

/** Parts that must be there behind a gap before it is worth going there: with fewer the next stall is near. */
const PARTS_BEHIND_GAP_MIN = 2;
/** What is left of the last frames when a player has come to the end of its buffer. */
const END_SLACK_S = 0.3;

/** Where the newest part of the playlist ends, moved on by the time since the playlist last grew. */
export function liveEdgeS(details: LevelDetails): number {
  return details.edge + details.age;
}

/** How far from the edge the server wants players to be at least. */
export function holdBackS(details: LevelDetails): number {
  return details.partHoldBack || details.holdBack || 3 * details.targetduration;
}

/** Whether the newest thing in the playlist is a gap: the broadcaster sends nothing. */
export function endsInGap(details: LevelDetails): boolean {
  const newest = details.partList?.at(-1) ?? details.fragments.at(-1);
  return newest?.gap === true;
}

/** Whether a playlist has ended and holds nothing more to play after `currentTimeS`: it may end in gaps. */
export function isOver(details: LevelDetails, currentTimeS: number): boolean {
  if (details.live) return false;
  return !details.fragments.some(({ end, gap }) => gap !== true && end > currentTimeS + END_SLACK_S);
}

/**
 * Where the broadcast can be entered behind its last gap; undefined when there is no gap ahead of `currentTimeS` or not
 * enough behind it yet. By itself hls.js waits at a gap until the first segment without one is complete.
 */
export function entryBehindGapS(details: LevelDetails, currentTimeS: number): number | undefined {
  const parts = details.partList;
  if (!details.live || !parts) return undefined;
  const lastGap = parts.findLastIndex((part) => part.gap);
  const entry = parts.find((part, index) => index > lastGap && part.independent);
  if (lastGap === -1 || entry === undefined || entry.start <= currentTimeS) return undefined;
  if (details.edge - entry.start < PARTS_BEHIND_GAP_MIN * details.partTarget) return undefined;
  return Math.max(entry.start + 0.01, liveEdgeS(details) - holdBackS(details));
}
