import { PlaylistValueError, quoted, tag } from '#protocol/hls/attribute-list.ts';
import { formatSeconds, toMilliseconds, type MediaDuration } from '#protocol/hls/media-duration.ts';

/** A part as a playlist lists it. @spec rfc8216bis §4.4.4.9 */
export type PartialSegment = {
  readonly uri: string;
  readonly duration: MediaDuration;
  /** Whether it holds a frame that needs no other. */
  readonly independent: boolean;
  /** Its place exists, its bytes do not. */
  readonly gap: boolean;
};

/**
 * EXT-X-PART.
 *
 * @throws {PlaylistValueError} when the part is empty or longer than PART-TARGET
 * @spec rfc8216bis §4.4.4.9
 */
export function writePartialSegment(part: PartialSegment, partTargetMs: number): string {
  if (part.duration.ticks <= 0 || toMilliseconds(part.duration) > partTargetMs)
    throw new PlaylistValueError(
      `part ${part.uri} of ${part.duration.ticks}/${part.duration.timescale} s does not fit PART-TARGET ${partTargetMs} ms`,
    );
  return tag('EXT-X-PART', {
    DURATION: formatSeconds(part.duration),
    URI: quoted(part.uri),
    INDEPENDENT: part.independent && !part.gap ? 'YES' : undefined,
    GAP: part.gap ? 'YES' : undefined,
  });
}
