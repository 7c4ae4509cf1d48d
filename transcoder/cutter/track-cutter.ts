import type { CmafSample } from '#protocol/cmaf/fragment.ts';
import type { PartGrid } from '#protocol/cmaf/part-grid.ts';
import { writePart } from '#protocol/cmaf/part-writer.ts';
import { TrackGrid } from '#protocol/cmaf/track-grid.ts';
import { TranscodeError } from '#transcoder/transcode-error.ts';
import type { CutPart } from '#transcoder/cutter/cut-part.ts';
import type { PlannedRendition } from '#transcoder/ladder/ladder-plan.ts';

/** Bytes that one cell may gather (the contract's limit of a part, less room for the boxes around the frames). */
const CELL_BYTES_MAX = 8 * 1024 * 1024 - 64 * 1024;

/** What a {@link TrackCutter} is told. */
export type TrackCutterOptions = {
  readonly rendition: PlannedRendition;
  readonly grid: PartGrid;
  readonly trackId: number;
  /** When the last frame before this tick reached the ingest. */
  arrivalBefore(endTicks: number): number;
  emit(part: CutPart): void;
};

/**
 * Gathers the frames of one track into the cells of the part grid. A cell is closed by the frame that fills it, not by
 * the first frame after it, so nothing is held back.
 */
export class TrackCutter {
  readonly #options: TrackCutterOptions;
  readonly #grid: TrackGrid;
  #samples: CmafSample[] = [];
  #bytes = 0;
  #cell = 0;
  #nextTicks = 0;
  #sequence = 1;

  constructor(options: TrackCutterOptions) {
    this.#options = options;
    this.#grid = new TrackGrid(options.grid, options.rendition);
  }

  /** Media time, in ticks, up to which frames have come. */
  get endTicks(): number {
    return this.#nextTicks;
  }

  /** The cell that is being filled; every cell before it has been emitted. */
  get openCell(): number {
    return this.#cell;
  }

  /** Whether the open cell holds frames. */
  get hasOpenFrames(): boolean {
    return this.#samples.length > 0;
  }

  /** The grid as this track sees it. */
  get grid(): TrackGrid {
    return this.#grid;
  }

  /**
   * Takes the next frame; emits a part when it fills the open cell.
   *
   * @param sample begins at media time 0 or right after the one before
   * @throws {TranscodeError} `timestamps_off_grid` when it does not, or a segment does not begin with a key frame
   */
  push(sample: CmafSample): void {
    const { rendition } = this.#options;
    if (sample.startTicks !== this.#nextTicks)
      throw this.#offGrid(`a frame begins at tick ${sample.startTicks} instead of ${this.#nextTicks}`);
    if (sample.durationTicks <= 0 || sample.durationTicks % rendition.frameTicks !== 0)
      throw this.#offGrid(`a frame lasts ${sample.durationTicks} ticks, frames are ${rendition.frameTicks}`);
    if (this.#grid.cellAt(sample.startTicks) !== this.#cell)
      throw this.#offGrid(`no frame begins in cell ${this.#cell}`);
    const { part } = this.#grid.positionOf(this.#cell);
    if (this.#samples.length === 0 && part === 0 && !sample.sync)
      throw this.#offGrid(
        `segment ${this.#grid.positionOf(this.#cell).segment} does not begin with a key frame`,
      );
    this.#bytes += sample.data.length;
    if (this.#bytes > CELL_BYTES_MAX)
      throw new TranscodeError('fragment_invalid', `${rendition.id}: a part is over ${CELL_BYTES_MAX} bytes`);
    this.#samples.push(sample);
    this.#nextTicks += sample.durationTicks;
    if (this.#grid.cellAt(this.#nextTicks) > this.#cell) this.#close(this.#grid.isLastOfSegment(this.#cell));
  }

  /** Emits the open cell, if it holds frames, as a part that is shorter than the others. */
  flush(last: boolean): void {
    if (this.hasOpenFrames) this.#close(last || this.#grid.isLastOfSegment(this.#cell));
  }

  #close(last: boolean): void {
    const { rendition, trackId } = this.#options;
    const samples = this.#samples;
    const first = samples[0] as CmafSample;
    const { segment, part } = this.#grid.positionOf(this.#cell);
    const bytes = writePart(trackId, this.#sequence, samples);
    this.#samples = [];
    this.#bytes = 0;
    this.#cell += 1;
    this.#sequence += 1;
    this.#options.emit({
      renditionId: rendition.id,
      segment,
      part,
      startTicks: first.startTicks,
      durationTicks: this.#nextTicks - first.startTicks,
      independent: first.sync,
      last,
      bytes,
      arrivalUtcMs: this.#options.arrivalBefore(this.#nextTicks),
    });
  }

  #offGrid(what: string): TranscodeError {
    const { id, mode } = this.#options.rendition;
    return new TranscodeError(mode === 'copy' ? 'copy_off_grid' : 'timestamps_off_grid', `${id}: ${what}`);
  }
}
