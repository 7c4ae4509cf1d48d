import { decimal } from '#bench/hls/attribute-list.ts';
import type { ListedSegment, MediaPlaylist } from '#bench/hls/media-playlist.ts';
import type { Violations } from '#tests/support/hls-rules/violation.ts';

/** A decimal of three to six places may be off by this much. */
const ROUNDING_S = 0.001;
/** @spec rfc8216bis §4.4.4.9 */
const PART_SHARE_MIN = 0.85;
/** Segments of a grid differ by a frame; a shorter one has been cut short. */
const CUT_SHORT_SHARE = 0.95;

/** What one media playlist must be, whatever came before it. */
export function checkPlaylist(playlist: MediaPlaylist, where: string, found: Violations): void {
  checkHeader(playlist, where, found);
  checkHints(playlist, where, found);
  for (const segment of playlist.segments) {
    checkSegment(segment, playlist, where, found);
    checkParts(segment, playlist, where, found);
  }
  checkWindow(playlist, where, found);
}

function checkHeader(playlist: MediaPlaylist, where: string, found: Violations): void {
  const { serverControl, partTargetS = 0, targetDurationS } = playlist;
  const attribute = (name: string): number => decimal(serverControl, name) ?? 0;
  found.expect(
    playlist.version >= 9,
    'version',
    where,
    `EXT-X-VERSION is ${playlist.version}, safe is 9 or more`,
  );
  found.expect(partTargetS > 0, 'part_target', where, 'EXT-X-PART-INF without PART-TARGET');
  found.expect(
    serverControl.get('CAN-BLOCK-RELOAD') === 'YES',
    'can_block_reload',
    where,
    'CAN-BLOCK-RELOAD is not YES',
  );
  found.expect(
    attribute('PART-HOLD-BACK') >= 3 * partTargetS - 1e-9,
    'part_hold_back',
    where,
    `PART-HOLD-BACK ${attribute('PART-HOLD-BACK')} is below 3 × ${partTargetS}`,
  );
  if (serverControl.has('HOLD-BACK'))
    found.expect(
      attribute('HOLD-BACK') >= 3 * targetDurationS,
      'hold_back',
      where,
      'HOLD-BACK is below 3 × TD',
    );
  if (serverControl.has('CAN-SKIP-UNTIL'))
    found.expect(
      attribute('CAN-SKIP-UNTIL') >= 6 * targetDurationS,
      'skip_boundary',
      where,
      'CAN-SKIP-UNTIL is below 6 × TD',
    );
  found.expect(
    playlist.discontinuitySequence !== undefined,
    'discontinuity_sequence',
    where,
    'EXT-X-DISCONTINUITY-SEQUENCE must always be there in a stream that may have a discontinuity',
  );
  found.expect(
    playlist.playlistType === undefined || playlist.endlist,
    'playlist_type',
    where,
    'a sliding playlist has no EXT-X-PLAYLIST-TYPE',
  );
  found.expect(playlist.mediaSequence >= 1, 'media_sequence', where, 'MSN 0 confuses players');
}

/** @spec rfc8216bis §4.4.5.3 */
function checkHints(playlist: MediaPlaylist, where: string, found: Violations): void {
  const count = (type: string): number => playlist.preloadHints.filter((hint) => hint.type === type).length;
  const parts = count('PART');
  found.expect(count('MAP') <= 1, 'one_hint', where, 'more than one PRELOAD-HINT of TYPE=MAP');
  if (playlist.endlist)
    found.expect(
      playlist.preloadHints.length === 0,
      'no_hint_at_end',
      where,
      'a PRELOAD-HINT beside EXT-X-ENDLIST',
    );
  else found.expect(parts === 1, 'one_hint', where, `${parts} PRELOAD-HINTs of TYPE=PART`);
}

function checkSegment(
  segment: ListedSegment,
  playlist: MediaPlaylist,
  where: string,
  found: Violations,
): void {
  const { msn, durationS, parts } = segment;
  found.expect(segment.mapUri !== undefined, 'map', where, `no EXT-X-MAP in force for segment ${msn}`);
  if (segment.discontinuity)
    found.expect(
      segment.programDateTimeMs !== undefined,
      'pdt_at_discontinuity',
      where,
      `segment ${msn} begins a discontinuity without PROGRAM-DATE-TIME`,
    );
  if (durationS === undefined) return;
  found.expect(
    Math.round(durationS) <= playlist.targetDurationS,
    'extinf',
    where,
    `segment ${msn} lasts ${durationS} s, TARGETDURATION is ${playlist.targetDurationS}`,
  );
  if (parts.length === 0) return;
  const sumS = parts.reduce((sum, part) => sum + part.durationS, 0);
  found.expect(
    Math.abs(sumS - durationS) <= ROUNDING_S * (parts.length + 1),
    'parts_fill_segment',
    where,
    `parts of segment ${msn} add up to ${sumS.toFixed(4)} s, EXTINF says ${durationS}`,
  );
}

/**
 * Stricter than the spec, which lets the last part of every segment be short: our grid needs that only where a break
 * cuts a whole segment short.
 *
 * @spec rfc8216bis §4.4.4.9
 */
function checkParts(segment: ListedSegment, playlist: MediaPlaylist, where: string, found: Violations): void {
  const partTargetS = playlist.partTargetS ?? 0;
  const longestS = Math.max(...playlist.segments.map(({ durationS = 0 }) => durationS));
  const cutShort = segment.durationS === undefined || segment.durationS < CUT_SHORT_SHARE * longestS;
  for (const [index, part] of segment.parts.entries()) {
    const label = `part ${part.msn}.${part.part}`;
    found.expect(
      part.durationS <= partTargetS,
      'part_too_long',
      where,
      `${label} lasts ${part.durationS} s, PART-TARGET is ${partTargetS}`,
    );
    const isLast = index === segment.parts.length - 1;
    const excepted =
      part.gap || segment.parts[index + 1]?.gap === true || (isLast && (cutShort || playlist.endlist));
    found.expect(
      excepted || part.durationS >= PART_SHARE_MIN * partTargetS - 1e-9,
      'part_too_short',
      where,
      `${label} lasts ${part.durationS} s, below 85 % of ${partTargetS}`,
    );
    if (index === 0)
      found.expect(
        part.independent || part.gap,
        'segment_starts_independent',
        where,
        `${label} opens a segment and is not INDEPENDENT`,
      );
  }
}

/** Parts far from the edge are of no use to anybody. @spec rfc8216bis §6.2.2 */
function checkWindow(playlist: MediaPlaylist, where: string, found: Violations): void {
  let fromEndS = 0;
  for (const segment of playlist.segments.toReversed()) {
    const durationS = segment.durationS ?? segment.parts.reduce((sum, part) => sum + part.durationS, 0);
    found.expect(
      segment.parts.length === 0 || fromEndS <= 3 * playlist.targetDurationS + ROUNDING_S,
      'parts_near_edge_only',
      where,
      `segment ${segment.msn} lists parts ${fromEndS.toFixed(2)} s from the end`,
    );
    fromEndS += durationS;
  }
}
