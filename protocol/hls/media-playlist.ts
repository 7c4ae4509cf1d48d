import { skippedSegmentCount, writeSkip, type PlaylistForm } from '#protocol/hls/delta-update.ts';
import {
  writeMediaSegment,
  writeSegmentStart,
  type MediaSegment,
  type SegmentStart,
} from '#protocol/hls/media-segment.ts';
import { writePreloadHint, type PreloadHint } from '#protocol/hls/preload-hint.ts';
import { writeRenditionReport, type RenditionReport } from '#protocol/hls/rendition-report.ts';
import {
  skipBoundaryS,
  writePartInf,
  writeServerControl,
  type PlaylistConstants,
} from '#protocol/hls/server-control.ts';

/** One version of a live media playlist. @spec rfc8216bis §4.4.3 */
export type MediaPlaylist = {
  readonly constants: PlaylistConstants;
  /** MSN of the first listed segment. */
  readonly mediaSequence: number;
  /** EXT-X-DISCONTINUITY tags that have left the playlist. */
  readonly discontinuitySequence: number;
  /** Complete segments, oldest first. */
  readonly segments: readonly MediaSegment[];
  /** The segment that is not complete yet; without a part in it there is nothing to write of it. */
  readonly open: SegmentStart | undefined;
  readonly preloadHints: readonly PreloadHint[];
  readonly renditionReports: readonly RenditionReport[];
  /** Nothing will be added any more. */
  readonly ended: boolean;
};

/** @spec rfc8216bis §8: EXT-X-SKIP needs 9; Apple's players have been seen to want 9 for EXT-X-SERVER-CONTROL too. */
const VERSION = 9;
/** @spec rfc8216bis §8 */
const VERSION_SKIPPING_DATERANGES = 10;

/**
 * Writes a media playlist, or a delta update of it. An ended playlist, and one too short to leave anything out, is
 * written in full whatever the form. EXT-X-INDEPENDENT-SEGMENTS stands in the multivariant playlist.
 *
 * @throws {PlaylistValueError} when a value would break the text or a promise of the playlist
 * @spec rfc8216bis §4.4, §6.2.5.1
 */
export function writeMediaPlaylist(playlist: MediaPlaylist, form: PlaylistForm = 'full'): string {
  const { constants } = playlist;
  const skipped =
    form === 'full' || playlist.ended ? 0 : skippedSegmentCount(playlist.segments, skipBoundaryS(constants));
  const lines = [
    '#EXTM3U',
    `#EXT-X-VERSION:${skipped > 0 && form === 'delta-v2' ? VERSION_SKIPPING_DATERANGES : VERSION}`,
    `#EXT-X-TARGETDURATION:${constants.targetDurationS}`,
    writeServerControl(constants),
    writePartInf(constants),
    `#EXT-X-MEDIA-SEQUENCE:${playlist.mediaSequence}`,
    `#EXT-X-DISCONTINUITY-SEQUENCE:${playlist.discontinuitySequence}`,
  ];
  // After EXT-X-MEDIA-SEQUENCE, which players apply to what they have read so far.
  if (skipped > 0 && form !== 'full') lines.push(writeSkip(skipped, form));
  // EXT-X-MAP is said again for the first segment after a skip: what becomes of a skipped one is left open by the spec.
  let mapUri: string | undefined;
  for (const segment of playlist.segments.slice(skipped)) {
    lines.push(...writeMediaSegment(segment, mapUri, constants));
    mapUri = segment.mapUri ?? mapUri;
  }
  if (playlist.open !== undefined && playlist.open.parts.length > 0)
    lines.push(...writeSegmentStart(playlist.open, mapUri, constants));
  if (playlist.ended) lines.push('#EXT-X-ENDLIST');
  else for (const hint of playlist.preloadHints) lines.push(writePreloadHint(hint));
  for (const report of playlist.renditionReports) lines.push(writeRenditionReport(report));
  return `${lines.join('\n')}\n`;
}
