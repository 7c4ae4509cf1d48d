import { toMilliseconds, type MediaDuration } from '#protocol/hls/media-duration.ts';

/** Size and length of a segment, all that its bit rate depends on. */
export type MeasuredSegment = { readonly bytes: number; readonly duration: MediaDuration };

/** Sums of bytes and milliseconds over a set of segments, as a rate. */
const bitsPerSecond = (bytes: number, milliseconds: number): number =>
  Math.ceil((bytes * 8 * 1000) / milliseconds);

/**
 * The largest bit rate of any contiguous set of segments that ends with the last one and lasts between half the target
 * duration and one and a half plus 0.5 s. The peak segment bit rate of a playlist is the largest of these over its life.
 *
 * @param segments oldest first; older ones than can belong to a set are ignored
 * @returns bits per second; `undefined` when no set is long enough yet
 * @spec rfc8216bis §4.1
 */
export function peakBitrateAtEnd(
  segments: readonly MeasuredSegment[],
  targetDurationS: number,
): number | undefined {
  const shortestMs = targetDurationS * 500;
  const longestMs = targetDurationS * 1500 + 500;
  let bytes = 0;
  let milliseconds = 0;
  let peak: number | undefined;
  for (let index = segments.length - 1; index >= 0; index--) {
    const segment = segments[index];
    if (segment === undefined) break;
    bytes += segment.bytes;
    milliseconds += toMilliseconds(segment.duration);
    if (milliseconds > longestMs) break;
    if (milliseconds >= shortestMs) peak = Math.max(peak ?? 0, bitsPerSecond(bytes, milliseconds));
  }
  return peak;
}

/**
 * The average segment bit rate: all bytes by all seconds.
 *
 * @returns bits per second; `undefined` without segments
 * @spec rfc8216bis §4.1
 */
export function averageBitrate(segments: readonly MeasuredSegment[]): number | undefined {
  let bytes = 0;
  let milliseconds = 0;
  for (const segment of segments) {
    bytes += segment.bytes;
    milliseconds += toMilliseconds(segment.duration);
  }
  return milliseconds === 0 ? undefined : bitsPerSecond(bytes, milliseconds);
}
