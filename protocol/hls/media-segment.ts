import { PlaylistValueError, quoted, tag, uriLine } from '#protocol/hls/attribute-list.ts';
import { formatSeconds, toMilliseconds, type MediaDuration } from '#protocol/hls/media-duration.ts';
import { writePartialSegment, type PartialSegment } from '#protocol/hls/partial-segment.ts';
import type { PlaylistConstants } from '#protocol/hls/server-control.ts';

/** The beginning of a segment, of which one part or more may be listed already. */
export type SegmentStart = {
  /** Whether what follows does not continue what came before. @spec rfc8216bis §4.4.4.3 */
  readonly discontinuity: boolean;
  /** Init segment that its media need; none while nothing but gaps has been listed. */
  readonly mapUri: string | undefined;
  /** Wall clock of the first sample, ms since the Unix epoch. */
  readonly programDateTimeMs: number;
  /** Parts to be listed; none for a segment that is far from the live edge. */
  readonly parts: readonly PartialSegment[];
};

/** A complete segment as a playlist lists it. @spec rfc8216bis §4.4.4 */
export type MediaSegment = SegmentStart & {
  readonly uri: string;
  readonly duration: MediaDuration;
  /** It holds no media at all. */
  readonly gap: boolean;
};

/**
 * The lines that must come before a segment's first part, and the parts. No line when there is no part: the tags then
 * come with the first of them, so that a playlist changes by appending only.
 *
 * @param mapUri the init segment in force so far; EXT-X-MAP is written when this segment needs another one
 * @spec rfc8216bis §4.4.4.9, §6.2.1
 */
export function writeSegmentStart(
  start: SegmentStart,
  mapUri: string | undefined,
  constants: PlaylistConstants,
): string[] {
  const lines: string[] = [];
  if (start.discontinuity) lines.push('#EXT-X-DISCONTINUITY');
  if (start.mapUri !== undefined && start.mapUri !== mapUri)
    lines.push(tag('EXT-X-MAP', { URI: quoted(start.mapUri) }));
  lines.push(`#EXT-X-PROGRAM-DATE-TIME:${new Date(Math.round(start.programDateTimeMs)).toISOString()}`);
  for (const part of start.parts) lines.push(writePartialSegment(part, constants.partTargetMs));
  return lines;
}

/**
 * All lines of a complete segment. EXT-X-GAP comes after the parts, because it is known only when the last of them is.
 *
 * @throws {PlaylistValueError} when the segment is longer than TARGETDURATION
 * @spec rfc8216bis §4.4.4
 */
export function writeMediaSegment(
  segment: MediaSegment,
  mapUri: string | undefined,
  constants: PlaylistConstants,
): string[] {
  if (Math.round(toMilliseconds(segment.duration) / 1000) > constants.targetDurationS)
    throw new PlaylistValueError(
      `segment ${segment.uri} of ${segment.duration.ticks}/${segment.duration.timescale} s is longer than TARGETDURATION`,
    );
  const lines = writeSegmentStart(segment, mapUri, constants);
  if (segment.gap) lines.push('#EXT-X-GAP');
  lines.push(`#EXTINF:${formatSeconds(segment.duration)},`, uriLine(segment.uri));
  return lines;
}
