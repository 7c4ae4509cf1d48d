const FLV_HEADER_BYTES = 9;
const TAG_HEADER_BYTES = 11;
const PREVIOUS_SIZE_BYTES = 4;
const VIDEO_TAG = 9;
const AVC_FRAME = 1;

/**
 * Counts the H.264 frames of an FLV byte stream as they come, in decoding order, from 0; any split of the bytes gives the
 * same frames. Trusts its input: it is our own encoder's.
 */
export class FlvVideoTagCounter {
  readonly #onFrame: (index: number) => void;
  #frames = 0;
  /** Bytes still to pass over before the next tag header. */
  #skip = FLV_HEADER_BYTES + PREVIOUS_SIZE_BYTES;
  #header: number[] = [];

  constructor(onFrame: (index: number) => void) {
    this.#onFrame = onFrame;
  }

  /** Takes the next bytes; reports a frame when its last byte is in. */
  push(bytes: Uint8Array): void {
    let offset = 0;
    while (offset < bytes.length) {
      if (this.#skip > 0) {
        const step = Math.min(this.#skip, bytes.length - offset);
        this.#skip -= step;
        offset += step;
        if (this.#skip === 0) this.#finishTag();
        continue;
      }
      // Two bytes of the body belong to the look: codec and packet type.
      while (offset < bytes.length && this.#header.length < TAG_HEADER_BYTES + 2)
        this.#header.push(bytes[offset++] ?? 0);
      if (this.#header.length === TAG_HEADER_BYTES + 2) {
        const [, high = 0, middle = 0, low = 0] = this.#header;
        this.#skip = high * 65_536 + middle * 256 + low - 2 + PREVIOUS_SIZE_BYTES;
      }
    }
  }

  #finishTag(): void {
    const isFrame = this.#header[0] === VIDEO_TAG && this.#header[TAG_HEADER_BYTES + 1] === AVC_FRAME;
    this.#header = [];
    if (isFrame) this.#onFrame(this.#frames++);
  }
}
