import { BARCODE, barcodeCells } from '#bench/source/clock-barcode.ts';

/** Size of a picture in luma samples; both even. */
export type PictureSize = { readonly width: number; readonly height: number };

const WHITE = 235;
const BLACK = 16;
const NEUTRAL = 128;
/** Luma lines the background moves per frame; even, because chroma has half as many. */
const SCROLL_LINES = 2;
/** The white square and the beep last this long at the start of every second. */
export const FLASH_MS = 100;

/** Whether the picture flashes and the sound beeps at this media time. */
export function isFlash(mediaMs: number): boolean {
  return mediaMs % 1_000 < FLASH_MS;
}

/** Different grains over the same background, shown in turn: a camera's noise is a new one in every frame. */
const GRAINS = 8;
const GRAIN_BITS = 3;

/**
 * Draws a moving picture cheaply: a textured background with changing grain, prepared once, scrolls upwards (one memory
 * copy per plane), and a block bounces over it; on top the clock barcode and, at every full second of media time, a
 * white square.
 */
export class MovingPicture {
  readonly size: PictureSize;
  readonly frameBytes: number;
  readonly #lumas: readonly Uint8Array[];
  readonly #chroma: readonly [Uint8Array, Uint8Array];

  constructor(size: PictureSize) {
    if (size.width % 2 !== 0 || size.height % 2 !== 0)
      throw new RangeError('width and height must be even for 4:2:0');
    this.size = size;
    this.frameBytes = (size.width * size.height * 3) / 2;
    const still = texture(size.width, size.height * 2, 0);
    this.#lumas = Array.from({ length: GRAINS }, (_, seed) => grain(still, seed));
    this.#chroma = [texture(size.width / 2, size.height, 1), texture(size.width / 2, size.height, 2)];
  }

  /** Draws frame `index` as planar 4:2:0 into `frame` ({@link frameBytes} long), stamped with the wall clock. */
  draw(frame: Uint8Array, index: number, mediaMs: number, epochMs: number): void {
    const { width, height } = this.size;
    const lumaBytes = width * height;
    const line = (index * SCROLL_LINES) % height;
    const luma = this.#lumas[index % GRAINS] ?? new Uint8Array();
    frame.set(luma.subarray(line * width, line * width + lumaBytes), 0);
    const chromaStart = (line / 2) * (width / 2);
    frame.set(this.#chroma[0].subarray(chromaStart, chromaStart + lumaBytes / 4), lumaBytes);
    frame.set(this.#chroma[1].subarray(chromaStart, chromaStart + lumaBytes / 4), (lumaBytes * 5) / 4);
    const side = Math.round(height / 8);
    const box = { width: side, height: side };
    fill(
      frame,
      this.size,
      { left: bounce(index * 5, width - side), top: bounce(index * 3, height - side), ...box },
      190,
    );
    if (isFlash(mediaMs))
      fill(frame, this.size, { left: width - 2 * side, top: height - 2 * side, ...box }, WHITE);
    drawBarcode(frame, this.size, epochMs);
  }
}

type Box = { readonly left: number; readonly top: number; readonly width: number; readonly height: number };

function fill(frame: Uint8Array, size: PictureSize, box: Box, value: number): void {
  for (let y = box.top; y < box.top + box.height; y++)
    frame.fill(value, y * size.width + box.left, y * size.width + box.left + box.width);
}

/** A quiet zone first, so that the background cannot pull the brightness of the outer cells. */
function drawBarcode(frame: Uint8Array, size: PictureSize, epochMs: number): void {
  const top = Math.round(BARCODE.top * size.height);
  const height = Math.round(BARCODE.height * size.height);
  const edge = (cell: number): number => Math.round((BARCODE.left + cell * BARCODE.cellWidth) * size.width);
  const quiet = Math.round(BARCODE.cellWidth * size.width);
  const box = { top: top - 4, height: height + 8, left: edge(0) - quiet };
  fill(frame, size, { ...box, width: edge(BARCODE.cells) + quiet - box.left }, BLACK);
  for (const [cell, white] of barcodeCells(epochMs).entries())
    if (white)
      fill(frame, size, { top, height, left: edge(cell), width: edge(cell + 1) - edge(cell) }, WHITE);
  // Grey chroma under the code, or colour would leak into the brightness that the page reads.
  for (const plane of [size.width * size.height, (size.width * size.height * 5) / 4])
    for (let y = Math.floor(box.top / 2); y < (box.top + box.height) / 2; y++)
      frame.fill(NEUTRAL, plane + y * (size.width / 2), plane + (y + 1) * (size.width / 2));
}

function bounce(position: number, range: number): number {
  const phase = position % (2 * range);
  return phase < range ? phase : 2 * range - phase;
}

/** Twice the picture's height, the second half equal to the first, so that scrolling is one copy without a seam. */
function texture(width: number, height: number, plane: 0 | 1 | 2): Uint8Array {
  const samples = new Uint8Array(width * height);
  const period = height / 2;
  const scale = plane === 0 ? 1 : 2;
  for (let y = 0; y < period; y++) {
    for (let x = 0; x < width; x++) {
      const wave =
        Math.sin((x * scale) / 37 + plane) * 30 +
        Math.sin((2 * Math.PI * 6 * y) / period + (x * scale) / 90) * 40;
      samples[y * width + x] = Math.round((plane === 0 ? 110 : NEUTRAL) + wave);
    }
  }
  samples.copyWithin(period * width, 0, period * width);
  return samples;
}

/** A copy with noise of {@link GRAIN_BITS} bits on every sample. */
function grain(still: Uint8Array, seed: number): Uint8Array {
  let noise = 0x2545f491 + seed;
  return still.map((sample) => {
    noise = (Math.imul(noise, 1_664_525) + 1_013_904_223) >>> 0;
    return sample + (noise >>> (32 - GRAIN_BITS)) - 2 ** (GRAIN_BITS - 1);
  });
}
