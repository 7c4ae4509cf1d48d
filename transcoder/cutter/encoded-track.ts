import { BoxSplitter } from '#protocol/cmaf/box-splitter.ts';
import type { Box } from '#protocol/cmaf/boxes.ts';
import { CmafError } from '#protocol/cmaf/cmaf-error.ts';
import { parseFragment, type CmafSample } from '#protocol/cmaf/fragment.ts';
import { hasEditList, parseInitSegment, type CmafTrack } from '#protocol/cmaf/init-segment.ts';
import { INIT_BYTES_MAX } from '#protocol/ingest/part-upload.ts';
import { TranscodeError } from '#transcoder/transcode-error.ts';
import type { CutInit } from '#transcoder/cutter/cut-part.ts';
import { OUTPUT_OFFSET_S } from '#transcoder/ladder/ffmpeg-arguments.ts';
import type { PlannedRendition } from '#transcoder/ladder/ladder-plan.ts';

/** What an {@link EncodedTrack} tells. */
export type EncodedTrackListener = {
  init(init: CutInit): void;
  /** A frame, with its start counted from media time 0. */
  sample(sample: CmafSample): void;
};

/**
 * Reads what the encoder writes for one rendition: an init segment, then fragments. Any split of the bytes gives the
 * same frames.
 */
export class EncodedTrack {
  readonly #rendition: PlannedRendition;
  readonly #listener: EncodedTrackListener;
  readonly #splitter = new BoxSplitter();
  #ftyp: Box | undefined;
  #track: CmafTrack | undefined;
  #moof: Box | undefined;

  constructor(rendition: PlannedRendition, listener: EncodedTrackListener) {
    this.#rendition = rendition;
    this.#listener = listener;
  }

  /**
   * Takes the next bytes from the socket.
   *
   * @throws {TranscodeError} `fragment_invalid` when they are not what was ordered from the encoder
   */
  push(chunk: Uint8Array): void {
    try {
      for (const box of this.#splitter.push(chunk)) this.#take(box);
    } catch (error) {
      if (!(error instanceof CmafError)) throw error;
      throw this.#invalid(error.message, error);
    }
  }

  #take(box: Box): void {
    switch (box.type) {
      case 'ftyp':
        this.#ftyp = box;
        return;
      case 'moov':
        this.#takeMoov(box);
        return;
      case 'moof':
        if (this.#track === undefined) throw this.#invalid('a fragment comes before the init segment');
        if (this.#moof !== undefined) throw this.#invalid("there is no 'mdat' after a 'moof'");
        this.#moof = box;
        return;
      case 'mdat':
        this.#takeMdat(box);
        return;
      default:
      // styp, sidx, prft, emsg and free carry nothing that a part needs.
    }
  }

  #takeMoov(moov: Box): void {
    if (this.#ftyp === undefined || this.#track !== undefined)
      throw this.#invalid("a 'moov' does not follow the one 'ftyp'");
    const bytes = new Uint8Array(this.#ftyp.bytes.length + moov.bytes.length);
    bytes.set(this.#ftyp.bytes);
    bytes.set(moov.bytes, this.#ftyp.bytes.length);
    const track = parseInitSegment(bytes);
    const wanted = this.#rendition;
    if (bytes.length > INIT_BYTES_MAX) throw this.#invalid(`the init segment has ${bytes.length} bytes`);
    if (track.kind !== wanted.kind) throw this.#invalid(`${track.kind} comes instead of ${wanted.kind}`);
    if (track.timescale !== wanted.timescale)
      throw this.#invalid(`the timescale is ${track.timescale} instead of ${wanted.timescale}`);
    if (hasEditList(bytes)) throw this.#invalid('an edit list shifts the timeline');
    this.#track = track;
    this.#listener.init({ renditionId: wanted.id, bytes, track });
  }

  #takeMdat(mdat: Box): void {
    const moof = this.#moof;
    const track = this.#track;
    if (moof === undefined || track === undefined) throw this.#invalid("an 'mdat' has no 'moof' before it");
    this.#moof = undefined;
    const offsetTicks = OUTPUT_OFFSET_S * track.timescale;
    for (const sample of parseFragment(moof, mdat, track.defaults)) {
      const startTicks = sample.startTicks - offsetTicks;
      // The priming frame of AAC: it only prepares the decoder for the one at media time 0.
      if (startTicks < 0 && this.#rendition.kind === 'audio') continue;
      // The encoder shortens its very last frame to what is not padding; a decoder plays it whole.
      const durationTicks = track.kind === 'audio' ? this.#rendition.frameTicks : sample.durationTicks;
      this.#listener.sample({ ...sample, startTicks, durationTicks });
    }
  }

  #invalid(what: string, cause?: unknown): TranscodeError {
    return new TranscodeError('fragment_invalid', `${this.#rendition.id}: ${what}`, { cause });
  }
}
