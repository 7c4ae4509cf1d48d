import type { CmafTrack } from '#protocol/cmaf/init-segment.ts';

/** A part as it leaves the cutter, ready to be uploaded. Ticks are of the rendition's timescale. */
export type CutPart = {
  readonly renditionId: string;
  /** Segments from the one that holds media time 0. */
  readonly segment: number;
  /** Part index within the segment. */
  readonly part: number;
  readonly startTicks: number;
  readonly durationTicks: number;
  readonly independent: boolean;
  /** The last part of its segment. */
  readonly last: boolean;
  /** One moof and one mdat. */
  readonly bytes: Uint8Array;
  /** When the last frame of the part reached the ingest. */
  readonly arrivalUtcMs: number;
};

/** The init segment of a rendition and what it says. */
export type CutInit = {
  readonly renditionId: string;
  readonly bytes: Uint8Array;
  readonly track: CmafTrack;
};
