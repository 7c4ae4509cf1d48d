const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const VALUES = new Map(DIGITS.split('').map((digit, value) => [digit.charCodeAt(0), value]));

/**
 * A whole number as `width` digits of the base64url alphabet, most significant first. Fixed widths keep a token's fields
 * in place without separators, which a query could not carry unencoded.
 *
 * @throws {RangeError} when the number is negative, not whole, or needs more digits
 */
export function toBase64UrlDigits(value: number, width: number): string {
  if (!Number.isSafeInteger(value) || value < 0 || value >= 64 ** width)
    throw new RangeError(`${value} does not fit into ${width} base64url digits`);
  let text = '';
  for (let rest = value; text.length < width; rest = Math.floor(rest / 64))
    text = DIGITS.charAt(rest % 64) + text;
  return text;
}

/** Reads digits `start` to `end` of a text; `undefined` when one of them is not of the alphabet. */
export function fromBase64UrlDigits(text: string, start: number, end: number): number | undefined {
  let value = 0;
  for (let i = start; i < end; i++) {
    const digit = VALUES.get(text.charCodeAt(i));
    if (digit === undefined) return undefined;
    value = value * 64 + digit;
  }
  return value;
}

/** `length` random digits, six bits each, from the platform's secure source. */
export function randomBase64UrlDigits(length: number): string {
  let text = '';
  for (const byte of crypto.getRandomValues(new Uint8Array(length))) text += DIGITS.charAt(byte & 63);
  return text;
}

/** Bytes as base64url without padding. @spec RFC 4648 §5 */
export function bytesToBase64Url(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 3) {
    const group = ((bytes[i] ?? 0) << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    const digits = Math.min(4, bytes.length - i + 1);
    for (let d = 0; d < digits; d++) text += DIGITS.charAt((group >> (18 - 6 * d)) & 63);
  }
  return text;
}
