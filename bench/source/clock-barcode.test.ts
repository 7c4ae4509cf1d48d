import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BARCODE,
  CLOCK_WRAP_MS,
  barcodeAgeMs,
  barcodeCells,
  readBarcode,
} from '#bench/source/clock-barcode.ts';

const shades = (cells: boolean[], white = 235, black = 16): number[] =>
  cells.map((cell) => (cell ? white : black));

describe('clock barcode', () => {
  it('reads what was drawn, at any contrast a codec leaves', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 4e12 }),
        fc.integer({ min: 120, max: 255 }),
        fc.integer({ min: 0, max: 50 }),
        (epochMs, white, black) => {
          const cells = barcodeCells(epochMs);
          expect(cells).toHaveLength(BARCODE.cells);
          expect(readBarcode(shades(cells, white, black))).toBe(epochMs % CLOCK_WRAP_MS);
        },
      ),
    );
  });

  it('refuses a code with any one cell wrong', () => {
    const cells = barcodeCells(1_795_000_123_456);
    for (let wrong = 2; wrong < cells.length; wrong++) {
      const damaged = cells.map((cell, index) => (index === wrong ? !cell : cell));
      expect(readBarcode(shades(damaged))).toBeUndefined();
    }
  });

  it('refuses a picture without a code', () => {
    expect(readBarcode(Array.from({ length: BARCODE.cells }, () => 0))).toBeUndefined();
    expect(readBarcode(Array.from({ length: BARCODE.cells }, () => 128))).toBeUndefined();
    expect(readBarcode([235, 16])).toBeUndefined();
  });

  it('fits into the picture', () => {
    expect(BARCODE.left + BARCODE.cells * BARCODE.cellWidth).toBeLessThan(1);
  });

  it('knows the age of a clock, across the wrap too', () => {
    expect(barcodeAgeMs(1_000, 2_500)).toBe(1_500);
    expect(barcodeAgeMs(CLOCK_WRAP_MS - 10, 3 * CLOCK_WRAP_MS + 5)).toBe(15);
    expect(barcodeAgeMs(2_000, 1_990)).toBe(-10);
  });
});
