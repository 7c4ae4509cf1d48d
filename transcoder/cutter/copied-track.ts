import type { CmafSample } from '#protocol/cmaf/fragment.ts';
import { parseInitSegment } from '#protocol/cmaf/init-segment.ts';
import { writeAvcInitSegment } from '#protocol/cmaf/init-writer.ts';
import type { PartGrid } from '#protocol/cmaf/part-grid.ts';
import { TrackGrid } from '#protocol/cmaf/track-grid.ts';
import type { IngestPacket } from '#transcoder/ingest/incoming-publish.ts';
import { TranscodeError } from '#transcoder/transcode-error.ts';
import type { EncodedTrackListener } from '#transcoder/cutter/encoded-track.ts';
import { avcPayload, isAvcFrame } from '#transcoder/ladder/flv-body.ts';
import type { PlannedVideo } from '#transcoder/ladder/ladder-plan.ts';
import type { SourceVideo } from '#transcoder/ladder/source-profile.ts';

/** How far, in frames, a frame may be moved back on the grid when two claim the same place. */
const CROWDED_FRAMES_MAX = 1.5;

type HeldFrame = { readonly frame: number; readonly sample: CmafSample };

/**
 * Makes a track of the broadcaster's own frames. Their millisecond timestamps are put on the exact frame grid; a frame
 * is handed on when the next one has come, because only then its length is certain. A frame that is missing is filled by
 * the one before it, but never beyond the end of its part: the first frame of the next part is then shown early instead.
 */
export class CopiedTrack {
  readonly #rendition: PlannedVideo;
  readonly #grid: TrackGrid;
  readonly #listener: EncodedTrackListener;
  #held: HeldFrame | undefined;

  constructor(rendition: PlannedVideo, source: SourceVideo, grid: PartGrid, listener: EncodedTrackListener) {
    this.#rendition = rendition;
    this.#grid = new TrackGrid(grid, rendition);
    this.#listener = listener;
    const bytes = writeAvcInitSegment({
      timescale: rendition.timescale,
      width: source.codedWidth,
      height: source.codedHeight,
      configuration: source.configuration,
    });
    listener.init({ renditionId: rendition.id, bytes, track: parseInitSegment(bytes) });
  }

  /**
   * Takes the next frame.
   *
   * @param decodingMs its decoding time, counted from that of the first frame
   * @param presentationMs its presentation time, counted from that of the first frame
   * @throws {TranscodeError} `copy_off_grid` when frames do not come at the rendition's rate
   */
  push(packet: IngestPacket & { kind: 'video' }, decodingMs: number, presentationMs: number): void {
    const payload = avcPayload(packet.flvBody);
    if (payload === undefined || !isAvcFrame(packet.flvBody)) return;
    const frame = this.#place(decodingMs);
    if (this.#held !== undefined) this.#release(frame);
    const { frameTicks } = this.#rendition;
    const presentation = Math.round(this.#toFrames(presentationMs));
    this.#held = {
      frame,
      sample: {
        startTicks: frame * frameTicks,
        durationTicks: frameTicks,
        compositionOffsetTicks: (presentation - frame) * frameTicks,
        sync: packet.keyframe,
        // The packet's memory is the ingest's; the part is written later.
        data: Uint8Array.from(payload),
      },
    };
  }

  /** The input has ended: the frame that is still held lasts one frame. */
  end(): void {
    if (this.#held !== undefined) this.#release(this.#held.frame + 1);
    this.#held = undefined;
  }

  /** The place of a frame on the grid, behind the frame before it. */
  #place(decodingMs: number): number {
    const exact = this.#toFrames(decodingMs);
    const held = this.#held;
    if (held === undefined) return 0;
    const frame = Math.max(Math.round(exact), held.frame + 1);
    if (frame - exact > CROWDED_FRAMES_MAX)
      throw this.#offGrid(
        `frames come faster than ${this.#rendition.frameRate.numerator} / ${this.#rendition.frameRate.denominator} per second`,
      );
    const { frameTicks } = this.#rendition;
    const nextCell = this.#grid.cellAt(held.frame * frameTicks) + 1;
    const cell = this.#grid.cellAt(frame * frameTicks);
    if (cell > nextCell) throw this.#offGrid('a whole part has no frame');
    return cell === nextCell ? this.#grid.cellStartTicks(nextCell) / frameTicks : frame;
  }

  #release(nextFrame: number): void {
    const { frame, sample } = this.#held as HeldFrame;
    this.#listener.sample({ ...sample, durationTicks: (nextFrame - frame) * this.#rendition.frameTicks });
  }

  #toFrames(ms: number): number {
    const { timescale, frameTicks } = this.#rendition;
    return (ms * timescale) / (1000 * frameTicks);
  }

  #offGrid(what: string): TranscodeError {
    return new TranscodeError('copy_off_grid', `${this.#rendition.id}: ${what}`);
  }
}
