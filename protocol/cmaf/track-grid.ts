import type { PartGrid } from '#protocol/cmaf/part-grid.ts';

/** A cell of the grid, by its numbers relative to the timeline. */
export type CellPosition = {
  /** Segments from the one that holds media time 0. */
  readonly segment: number;
  /** Part index within the segment. */
  readonly part: number;
};

/** How a track's frames lie on its timeline. */
export type TrackFrames = {
  readonly kind: 'video' | 'audio';
  /** Ticks per second. */
  readonly timescale: number;
  /** Ticks of one frame. */
  readonly frameTicks: number;
};

/**
 * The part grid as one track sees it: maps the start of a frame, in the track's own ticks, to its cell and back. Exact
 * for any length of a stream: products are taken as BigInt, because ticks × rates pass 2^53 within days.
 */
export class TrackGrid {
  readonly partsPerSegment: number;
  readonly #frameTicks: bigint;
  /** Added to twice the start of a frame: nothing for video, one frame for audio (the middle of the frame counts). */
  readonly #bias: bigint;
  /** cell = floor((2 × ticks + bias) × cellsPer / ticksPer). */
  readonly #cellsPer: bigint;
  readonly #ticksPer: bigint;

  constructor(grid: PartGrid, track: TrackFrames) {
    this.partsPerSegment = grid.partsPerSegment;
    this.#frameTicks = BigInt(track.frameTicks);
    this.#bias = track.kind === 'audio' ? this.#frameTicks : 0n;
    this.#cellsPer = BigInt(grid.partsPerSegment) * BigInt(grid.segmentDuration.timescale);
    this.#ticksPer = 2n * BigInt(track.timescale) * BigInt(grid.segmentDuration.ticks);
  }

  /** The cell, counted from media time 0, of the frame that starts at `startTicks` (not negative). */
  cellAt(startTicks: number): number {
    return Number(((2n * BigInt(startTicks) + this.#bias) * this.#cellsPer) / this.#ticksPer);
  }

  /** The start of the first frame of a cell, when frames lie without a hole from media time 0. */
  cellStartTicks(cell: number): number {
    const least = BigInt(cell) * this.#ticksPer - this.#bias * this.#cellsPer;
    const perFrame = 2n * this.#frameTicks * this.#cellsPer;
    const frames = least <= 0n ? 0n : (least + perFrame - 1n) / perFrame;
    return Number(frames * this.#frameTicks);
  }

  /** Segment and part of a cell. */
  positionOf(cell: number): CellPosition {
    return { segment: Math.floor(cell / this.partsPerSegment), part: cell % this.partsPerSegment };
  }

  /** Whether the cell is the last one of its segment. */
  isLastOfSegment(cell: number): boolean {
    return cell % this.partsPerSegment === this.partsPerSegment - 1;
  }
}
