import type { MeasuredBandwidth } from '#protocol/hls/multivariant-playlist.ts';
import { averageBitrate, peakBitrateAtEnd, type MeasuredSegment } from '#protocol/hls/segment-bitrate.ts';
import type { LiveSegment } from '#origin/live/live-segment.ts';

/** Until this much has been measured, what the encoder was told is a lower bound: the first seconds of a show are quiet. */
const REPRESENTATIVE_MS = 10_000;
/** Segments that the average is taken over and that a peak can span. */
const SEGMENTS_REMEMBERED = 60;

/** Measures a rendition's bit rates from its complete segments. The peak holds for the life of the playlist. */
export class BandwidthMeter {
  readonly #targetDurationS: number;
  readonly #segments: MeasuredSegment[] = [];
  #measuredMs = 0;
  #peakBps = 0;

  constructor(targetDurationS: number) {
    this.#targetDurationS = targetDurationS;
  }

  /** Takes a complete segment; one without media says nothing of the media. */
  add(segment: LiveSegment): void {
    if (segment.isGap) return;
    this.#segments.push({
      bytes: segment.totalBytes,
      duration: { ticks: segment.durationTicks, timescale: segment.origin.timescale },
    });
    if (this.#segments.length > SEGMENTS_REMEMBERED) this.#segments.shift();
    this.#measuredMs += segment.durationMs;
    this.#peakBps = Math.max(this.#peakBps, peakBitrateAtEnd(this.#segments, this.#targetDurationS) ?? 0);
  }

  /** What was measured, and nothing else; undefined before the first segment. */
  get measured(): MeasuredBandwidth | undefined {
    const averageBps = averageBitrate(this.#segments);
    return averageBps === undefined
      ? undefined
      : { averageBps, peakBps: Math.max(this.#peakBps, averageBps) };
  }

  /** What a multivariant playlist may promise. @spec rfc8216bis §4.4.6.2 ("a representative period") */
  declared(nominalBps: number): MeasuredBandwidth {
    const floorBps = this.#measuredMs < REPRESENTATIVE_MS ? nominalBps : 0;
    const { averageBps, peakBps } = this.measured ?? { averageBps: nominalBps, peakBps: nominalBps };
    return { averageBps: Math.max(floorBps, averageBps), peakBps: Math.max(floorBps, peakBps) };
  }
}
