/** A part of a resource: first and last byte, both included. */
export type ByteRange = { readonly first: number; readonly last: number };

/** `bytes=first-last`, `bytes=first-` or `bytes=-length`, one of them. */
const SINGLE_RANGE = /^bytes=(?:(\d{1,16})-(\d{0,16})|-(\d{1,16}))$/i;

/**
 * What a Range header asks of a resource of `length` bytes. Several ranges at once, and what is not understood, are
 * ignored: the whole resource is then the answer.
 *
 * @spec RFC 9110 §14.2; RFC 8673: a last byte of 2^53 − 1 means "to the end"
 */
export function readRange(header: string | undefined, length: number): ByteRange | 'whole' | 'unsatisfiable' {
  const match = SINGLE_RANGE.exec(header ?? '');
  if (match === null) return 'whole';
  const [, first, last, suffix] = match;
  if (suffix !== undefined) {
    const bytes = Math.min(Number(suffix), length);
    return bytes === 0 ? 'unsatisfiable' : { first: length - bytes, last: length - 1 };
  }
  const from = Number(first);
  const to = last === '' || last === undefined ? length - 1 : Number(last);
  if (to < from) return last === '' ? 'unsatisfiable' : 'whole';
  return from >= length ? 'unsatisfiable' : { first: from, last: Math.min(to, length - 1) };
}

/** Whether one of the entity tags of If-None-Match is the resource's. @spec RFC 9110 §13.1.2 (weak comparison) */
export function matchesEtag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header
    .split(',')
    .map((candidate) => candidate.trim().replace(/^W\//, ''))
    .some((candidate) => candidate === '*' || candidate === etag);
}

/** Whether the client takes gzip. @spec RFC 9110 §12.5.3 */
export function acceptsGzip(header: string | undefined): boolean {
  if (header === undefined) return false;
  // What nearly everybody sends has no weights.
  if (header === 'gzip' || header === 'gzip, deflate, br') return true;
  for (const entry of header.toLowerCase().split(',')) {
    const [coding = '', ...parameters] = entry.split(';').map((piece) => piece.trim());
    if (coding !== 'gzip' && coding !== 'x-gzip') continue;
    return !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
  }
  return false;
}
