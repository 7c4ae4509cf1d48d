/**
 * The broadcaster's clock as a barcode in the picture: two calibration cells (white, black), 32 bits of wall-clock
 * milliseconds (modulo 2^32), most significant first, and 8 bits of CRC. Positions are fractions of the picture, so the
 * same code is read from every rung of a ladder. Pure and without platform: the generator draws it, the page reads it.
 */
export const BARCODE = {
  /** Left and top edge, as fractions of the picture's width and height. */
  left: 0.025,
  top: 0.025,
  /** Width of one cell as a fraction of the picture's width. */
  cellWidth: 0.0175,
  /** Height of the code as a fraction of the picture's height. */
  height: 0.06,
  cells: 42,
} as const;

const CLOCK_BITS = 32;
const CHECK_BITS = 8;

/** Wall-clock milliseconds wrap here: after 49 days. */
export const CLOCK_WRAP_MS = 2 ** CLOCK_BITS;

/** The cells for a time, left to right; true is white. Milliseconds since the Unix epoch; fractions are cut off. */
export function barcodeCells(epochMs: number): boolean[] {
  const clock = Math.floor(epochMs) % CLOCK_WRAP_MS;
  const cells = [true, false];
  for (let bit = CLOCK_BITS - 1; bit >= 0; bit--) cells.push(Math.floor(clock / 2 ** bit) % 2 === 1);
  const check = crc8(clock);
  for (let bit = CHECK_BITS - 1; bit >= 0; bit--) cells.push((check >> bit) % 2 === 1);
  return cells;
}

/**
 * The clock in a row of cell brightnesses (0–255, one per cell), modulo {@link CLOCK_WRAP_MS}; `undefined` when the
 * contrast is too low or the checksum does not fit, as in a picture without a code or one between two frames.
 */
export function readBarcode(brightness: ArrayLike<number>): number | undefined {
  if (brightness.length !== BARCODE.cells) return undefined;
  const white = brightness[0] ?? 0;
  const black = brightness[1] ?? 0;
  if (white - black < 60) return undefined;
  const threshold = (white + black) / 2;
  let clock = 0;
  for (let cell = 2; cell < 2 + CLOCK_BITS; cell++)
    clock = clock * 2 + ((brightness[cell] ?? 0) > threshold ? 1 : 0);
  let check = 0;
  for (let cell = 2 + CLOCK_BITS; cell < BARCODE.cells; cell++)
    check = check * 2 + ((brightness[cell] ?? 0) > threshold ? 1 : 0);
  return check === crc8(clock) ? clock : undefined;
}

/** How long before `nowEpochMs` the clock `clock` was drawn, in milliseconds; right across the wrap. */
export function barcodeAgeMs(clock: number, nowEpochMs: number): number {
  const age = (((nowEpochMs - clock) % CLOCK_WRAP_MS) + CLOCK_WRAP_MS) % CLOCK_WRAP_MS;
  return age > CLOCK_WRAP_MS / 2 ? age - CLOCK_WRAP_MS : age;
}

/** CRC-8 with polynomial 0x07 and a start value that makes an all-black code invalid. */
function crc8(clock: number): number {
  let crc = 0xff;
  for (let shift = 24; shift >= 0; shift -= 8) {
    crc ^= Math.floor(clock / 2 ** shift) % 256;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x80 ? ((crc << 1) ^ 0x07) & 0xff : (crc << 1) & 0xff;
  }
  return crc;
}
