import type { LiveRendition } from '#origin/live/live-rendition.ts';

/** One rendition as {@link LiveStatus} shows it. */
export type LiveRenditionStatus = {
  readonly id: string;
  readonly kind: 'video' | 'audio';
  readonly codecs: string;
  readonly width: number | null;
  readonly height: number | null;
  /** Frames per second. */
  readonly frameRate: number | null;
  /** What the encoder was told, bits per second. */
  readonly nominalBitrateBps: number;
  /** Bits per second, measured over complete segments; null before the first one. */
  readonly averageBitrateBps: number | null;
  readonly peakBitrateBps: number | null;
  /** Last frame of a part at the ingest → part stored here, of the newest part, ms; null before the first. */
  readonly storeLatencyMs: number | null;
  /** Place of the newest part; -1 and -1 before the first. */
  readonly lastMsn: number;
  readonly lastPart: number;
};

/** A stream as the API shows it. */
export type LiveStatus = {
  readonly state: 'live' | 'reconnecting' | 'ended';
  /**
   * Highest MSN that was listed or given out: what is recorded and given back as `lastMsnFloor`, so that no number is
   * used twice.
   */
  readonly lastMsn: number;
  /** Index of the newest part of segment `lastMsn`; -1 when none of it is in. */
  readonly lastPart: number;
  /** Whether parts do not reach this origin, though the session lives. */
  readonly isStale: boolean;
  /** Of the newest timeline. */
  readonly renditions: readonly LiveRenditionStatus[];
  /** Requests held at this moment. */
  readonly waiters: number;
  /** Timelines begun in this process. */
  readonly timelines: number;
  /** Media bytes in memory. */
  readonly windowBytes: number;
};

export function renditionStatus(rendition: LiveRendition): LiveRenditionStatus {
  const { description, bandwidth, window } = rendition;
  const video = description.kind === 'video' ? description : undefined;
  return {
    id: rendition.id,
    kind: description.kind,
    codecs: description.codecs,
    width: video?.width ?? null,
    height: video?.height ?? null,
    frameRate: video === undefined ? null : video.frameRate.numerator / video.frameRate.denominator,
    nominalBitrateBps: description.bitrateBps,
    averageBitrateBps: bandwidth.measured?.averageBps ?? null,
    peakBitrateBps: bandwidth.measured?.peakBps ?? null,
    storeLatencyMs: rendition.storeLatencyMs,
    lastMsn: window.lastPart?.msn ?? -1,
    lastPart: window.lastPart?.part ?? -1,
  };
}
