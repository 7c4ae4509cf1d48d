import { tag } from '#protocol/hls/attribute-list.ts';
import { toMilliseconds, type MediaDuration } from '#protocol/hls/media-duration.ts';

/** Which version of a playlist a client asked for with `_HLS_skip`. */
export type PlaylistForm = 'full' | 'delta' | 'delta-v2';

/**
 * How many of the oldest segments a delta update leaves out: those that lie wholly further from the end of the last
 * complete segment than the Skip Boundary. Counting from the segment's own end and from the last complete one skips the
 * least that the rule can mean, and a client is never left without a segment that it may lack.
 *
 * @param segments oldest first
 * @spec rfc8216bis §6.2.5.1
 */
export function skippedSegmentCount(
  segments: readonly { readonly duration: MediaDuration }[],
  boundaryS: number,
): number {
  let fromEndMs = 0;
  for (let index = segments.length - 1; index >= 0; index--) {
    if (fromEndMs > boundaryS * 1000) return index + 1;
    const segment = segments[index];
    if (segment !== undefined) fromEndMs += toMilliseconds(segment.duration);
  }
  return 0;
}

/**
 * EXT-X-SKIP. Version 2 must say which date ranges left the playlist; there are none yet.
 *
 * @spec rfc8216bis §4.4.5.2
 */
export function writeSkip(skippedSegments: number, form: Exclude<PlaylistForm, 'full'>): string {
  return tag('EXT-X-SKIP', {
    'SKIPPED-SEGMENTS': String(skippedSegments),
    'RECENTLY-REMOVED-DATERANGES': form === 'delta-v2' ? '""' : undefined,
  });
}
