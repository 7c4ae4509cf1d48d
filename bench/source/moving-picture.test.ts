import { describe, expect, it } from 'vitest';
import { BARCODE, barcodeAgeMs, readBarcode } from '#bench/source/clock-barcode.ts';
import { MovingPicture, isFlash } from '#bench/source/moving-picture.ts';

const now = 1_795_123_456_789;

function brightness(frame: Uint8Array, width: number, height: number): number[] {
  const y = Math.round((BARCODE.top + BARCODE.height / 2) * height);
  return Array.from({ length: BARCODE.cells }, (_, cell) => {
    const x = Math.round((BARCODE.left + (cell + 0.5) * BARCODE.cellWidth) * width);
    return frame[y * width + x] ?? 0;
  });
}

describe('MovingPicture', () => {
  it.each([
    [1280, 720],
    [640, 360],
    [426, 240],
    [720, 1280],
  ])('carries a readable clock at %i×%i', (width, height) => {
    const picture = new MovingPicture({ width, height });
    const frame = new Uint8Array(picture.frameBytes);
    for (const index of [0, 1, 400, 100_000]) {
      picture.draw(frame, index, index * 33, now + index);
      const clock = readBarcode(brightness(frame, width, height));
      expect(clock === undefined ? undefined : barcodeAgeMs(clock, now + index)).toBe(0);
    }
  });

  it('changes from frame to frame and flashes on the second', () => {
    const picture = new MovingPicture({ width: 320, height: 180 });
    const draw = (index: number, mediaMs: number): Uint8Array => {
      const frame = new Uint8Array(picture.frameBytes);
      picture.draw(frame, index, mediaMs, now);
      return frame;
    };
    expect(Buffer.compare(draw(0, 500), draw(1, 500))).not.toBe(0);
    expect(Buffer.compare(draw(0, 500), draw(0, 1_000))).not.toBe(0);
    expect([isFlash(0), isFlash(99), isFlash(100), isFlash(3_050)]).toEqual([true, true, false, true]);
  });

  it('refuses odd sizes', () => {
    expect(() => new MovingPicture({ width: 321, height: 180 })).toThrow(RangeError);
  });
});
