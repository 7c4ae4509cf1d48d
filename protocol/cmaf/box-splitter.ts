import { BOX_HEADER_BYTES, boxTypeAt, viewOf, type Box } from '#protocol/cmaf/boxes.ts';
import { CmafError } from '#protocol/cmaf/cmaf-error.ts';

/** Longest box of each type that is accepted; a type that is not listed is an error. */
export type BoxLimits = Readonly<Record<string, number>>;

/** What a fragmented MP4 with one track, as an encoder writes it to a socket, may consist of. */
export const CMAF_STREAM_LIMITS: BoxLimits = {
  ftyp: 1024,
  moov: 64 * 1024,
  styp: 1024,
  sidx: 4 * 1024,
  prft: 1024,
  emsg: 64 * 1024,
  moof: 64 * 1024,
  mdat: 8 * 1024 * 1024,
  free: 64 * 1024,
};

/**
 * Cuts a stream of bytes into its top-level boxes, however the bytes are split. Holds at most one unfinished box, whose
 * size is checked against its limit as soon as its header is in.
 */
export class BoxSplitter {
  readonly #limits: BoxLimits;
  readonly #header = new Uint8Array(BOX_HEADER_BYTES);
  #headerFilled = 0;
  #box: Uint8Array | undefined;
  #boxFilled = 0;
  #type = '';

  constructor(limits: BoxLimits = CMAF_STREAM_LIMITS) {
    this.#limits = limits;
  }

  /** Bytes held of a box that is not whole yet. */
  get pendingBytes(): number {
    return this.#box === undefined ? this.#headerFilled : this.#boxFilled;
  }

  /**
   * Takes the next bytes and returns the boxes that they complete; the boxes own their memory.
   *
   * @throws {CmafError} `box_unexpected` or `box_size_invalid`; the splitter is of no use afterwards
   */
  push(chunk: Uint8Array): Box[] {
    const boxes: Box[] = [];
    for (let offset = 0; offset < chunk.length;) {
      if (this.#box === undefined) offset += this.#fillHeader(chunk, offset);
      if (this.#box === undefined) continue;
      const length = Math.min(chunk.length - offset, this.#box.length - this.#boxFilled);
      this.#box.set(chunk.subarray(offset, offset + length), this.#boxFilled);
      this.#boxFilled += length;
      offset += length;
      if (this.#boxFilled < this.#box.length) continue;
      boxes.push({ type: this.#type, bytes: this.#box, payload: this.#box.subarray(BOX_HEADER_BYTES) });
      this.#box = undefined;
      this.#headerFilled = 0;
    }
    return boxes;
  }

  #fillHeader(chunk: Uint8Array, offset: number): number {
    const length = Math.min(chunk.length - offset, BOX_HEADER_BYTES - this.#headerFilled);
    this.#header.set(chunk.subarray(offset, offset + length), this.#headerFilled);
    this.#headerFilled += length;
    if (this.#headerFilled < BOX_HEADER_BYTES) return length;
    const size = viewOf(this.#header).getUint32(0);
    const type = boxTypeAt(this.#header, 4);
    const limit = this.#limits[type];
    if (limit === undefined) throw new CmafError('box_unexpected', `'${type}' has no place here`);
    if (size < BOX_HEADER_BYTES || size > limit)
      throw new CmafError('box_size_invalid', `'${type}' says ${size} bytes, at most ${limit} are taken`);
    this.#type = type;
    this.#box = new Uint8Array(size);
    this.#box.set(this.#header);
    this.#boxFilled = BOX_HEADER_BYTES;
    return length;
  }
}
