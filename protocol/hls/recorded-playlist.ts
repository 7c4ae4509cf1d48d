import { tag } from '#protocol/hls/attribute-list.ts';
import { skippedSegmentCount, writeSkip, type PlaylistForm } from '#protocol/hls/delta-update.ts';
import { formatMilliseconds } from '#protocol/hls/media-duration.ts';
import { writeMediaSegment, type MediaSegment } from '#protocol/hls/media-segment.ts';
import { skipBoundaryS, type PlaylistConstants } from '#protocol/hls/server-control.ts';

/** A media playlist of whole segments: of a stream that goes on and can be rewound, or of one that has ended. */
export type RecordedPlaylist = {
  readonly constants: PlaylistConstants;
  /** MSN of the first listed segment. */
  readonly mediaSequence: number;
  /** EXT-X-DISCONTINUITY tags that have left the playlist. */
  readonly discontinuitySequence: number;
  /** Oldest first; their parts are not listed. */
  readonly segments: readonly MediaSegment[];
  /**
   * `sliding`: segments come at its end and leave at its beginning. `ended`: none comes any more. `vod`: nothing ever
   * changes.
   */
  readonly kind: 'sliding' | 'ended' | 'vod';
};

/** @spec rfc8216bis §8: as in live playlists, so that no player meets two versions in one stream */
const VERSION = 9;
const VERSION_SKIPPING_DATERANGES = 10;
/** @spec rfc8216bis §4.4.3.8 */
const HOLD_BACK_TARGETS = 3;

/**
 * Writes a playlist of whole segments. Only a sliding one has delta updates and can be held back for a segment.
 *
 * @throws {PlaylistValueError} when a value would break the text or a promise of the playlist
 * @spec rfc8216bis §4.4.3.5, §4.4.3.8, §6.2.1, §6.2.5.1
 */
export function writeRecordedPlaylist(playlist: RecordedPlaylist, form: PlaylistForm = 'full'): string {
  const { constants, kind, segments } = playlist;
  const isDelta = form !== 'full' && kind === 'sliding';
  const skipped = isDelta ? skippedSegmentCount(segments, skipBoundaryS(constants)) : 0;
  const lines = [
    '#EXTM3U',
    `#EXT-X-VERSION:${skipped > 0 && form === 'delta-v2' ? VERSION_SKIPPING_DATERANGES : VERSION}`,
    `#EXT-X-TARGETDURATION:${constants.targetDurationS}`,
  ];
  if (kind === 'vod') lines.push('#EXT-X-PLAYLIST-TYPE:VOD');
  else
    lines.push(
      tag('EXT-X-SERVER-CONTROL', {
        'CAN-BLOCK-RELOAD': 'YES',
        'CAN-SKIP-UNTIL': formatMilliseconds(skipBoundaryS(constants) * 1000),
        'HOLD-BACK': formatMilliseconds(constants.targetDurationS * 1000 * HOLD_BACK_TARGETS),
      }),
    );
  lines.push(
    `#EXT-X-MEDIA-SEQUENCE:${playlist.mediaSequence}`,
    `#EXT-X-DISCONTINUITY-SEQUENCE:${playlist.discontinuitySequence}`,
  );
  if (skipped > 0 && form !== 'full') lines.push(writeSkip(skipped, form));
  let mapUri: string | undefined;
  for (const segment of segments.slice(skipped)) {
    lines.push(...writeMediaSegment(segment, mapUri, constants));
    mapUri = segment.mapUri ?? mapUri;
  }
  if (kind !== 'sliding') lines.push('#EXT-X-ENDLIST');
  return `${lines.join('\n')}\n`;
}
