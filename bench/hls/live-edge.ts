import type { ListedPart, MediaPlaylist } from '#bench/hls/media-playlist.ts';

/** A part's place: `_HLS_msn` and `_HLS_part`. */
export type PartPosition = { readonly msn: number; readonly part: number };

/** The newest listed part (of the newest segment that still lists parts), or `undefined` before the first. */
export function lastPart(playlist: MediaPlaylist): ListedPart | undefined {
  return playlist.segments.at(-1)?.parts.at(-1) ?? playlist.segments.at(-2)?.parts.at(-1);
}

/** What to ask for next: the part after the last one listed. @spec rfc8216bis §6.2.5.2 */
export function nextPart(playlist: MediaPlaylist): PartPosition {
  const last = playlist.segments.at(-1);
  if (last === undefined) return { msn: playlist.mediaSequence + playlist.skippedSegments, part: 0 };
  return last.uri === undefined ? { msn: last.msn, part: last.parts.length } : { msn: last.msn + 1, part: 0 };
}

/** Every part that the playlist lists, oldest first. */
export function listedParts(playlist: MediaPlaylist): ListedPart[] {
  return playlist.segments.flatMap(({ parts }) => parts);
}

/** Negative when `a` comes before `b`. */
export function comparePositions(a: PartPosition, b: PartPosition): number {
  return a.msn - b.msn || a.part - b.part;
}
