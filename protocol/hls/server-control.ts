import { tag } from '#protocol/hls/attribute-list.ts';
import { formatMilliseconds } from '#protocol/hls/media-duration.ts';

/**
 * What never changes in the life of a playlist and is the same in all playlists of a stream: players take a change for
 * a broken server and stop.
 */
export type PlaylistConstants = {
  /** EXT-X-TARGETDURATION in seconds. */
  readonly targetDurationS: number;
  /** PART-TARGET in whole milliseconds. */
  readonly partTargetMs: number;
};

/** @spec rfc8216bis §4.4.3.8: MUST be at least 2, SHOULD be at least 3; Apple's players insist on 3. */
const PART_HOLD_BACK_PARTS = 3;
/** @spec rfc8216bis §4.4.3.8 */
const HOLD_BACK_TARGETS = 3;
/** @spec rfc8216bis §4.4.3.8 */
const SKIP_BOUNDARY_TARGETS = 6;

/** The Skip Boundary in seconds: segments further than this from the end may be left out of a delta update. */
export function skipBoundaryS(constants: PlaylistConstants): number {
  return constants.targetDurationS * SKIP_BOUNDARY_TARGETS;
}

/** EXT-X-SERVER-CONTROL. @spec rfc8216bis §4.4.3.8 */
export function writeServerControl(constants: PlaylistConstants): string {
  const targetMs = constants.targetDurationS * 1000;
  return tag('EXT-X-SERVER-CONTROL', {
    'CAN-BLOCK-RELOAD': 'YES',
    'CAN-SKIP-UNTIL': formatMilliseconds(targetMs * SKIP_BOUNDARY_TARGETS),
    'HOLD-BACK': formatMilliseconds(targetMs * HOLD_BACK_TARGETS),
    'PART-HOLD-BACK': formatMilliseconds(constants.partTargetMs * PART_HOLD_BACK_PARTS),
  });
}

/** EXT-X-PART-INF. @spec rfc8216bis §4.4.3.7 */
export function writePartInf(constants: PlaylistConstants): string {
  return tag('EXT-X-PART-INF', { 'PART-TARGET': formatMilliseconds(constants.partTargetMs) });
}
