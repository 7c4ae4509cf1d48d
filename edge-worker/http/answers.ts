/** Sent with everything; a player on another site must be able to read why something failed. */
export const CORS_HEADERS = {
  'access-control-allow-origin': '*',
  'access-control-expose-headers': 'Age, Content-Length, Content-Range, Date, ETag, Retry-After',
} as const;
const METHODS = 'GET, HEAD, OPTIONS';

/** Something that a viewer is told instead of an answer. @spec RFC 9457 */
export class EdgeProblem extends Error {
  override readonly name = 'EdgeProblem';
  readonly code: string;
  readonly status: number;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export function problemResponse({ status, code, message }: EdgeProblem): Response {
  const headers: Record<string, string> = {
    ...CORS_HEADERS,
    'content-type': 'application/problem+json',
    // A cache in front must not keep what may be mended in a moment.
    'cache-control': status === 404 ? 'public, max-age=1' : 'no-store',
  };
  if (status === 503) headers['retry-after'] = '1';
  return new Response(JSON.stringify({ type: `urn:problem:${code}`, status, code, detail: message }), {
    status,
    headers,
  });
}

/** The answer to a preflight. */
export function optionsResponse(): Response {
  return new Response(null, {
    status: 204,
    headers: {
      ...CORS_HEADERS,
      allow: METHODS,
      'access-control-allow-methods': METHODS,
      'access-control-allow-headers': '*',
      'access-control-max-age': '86400',
    },
  });
}

/** Bytes to be answered with, and what is said about them. */
export type Content = {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly contentType: string;
  readonly cacheControl: string;
  readonly etag: string | undefined;
  /** Whole seconds since an origin made it; undefined for what is made for this request. @spec RFC 9111 §5.1 */
  readonly ageS: number | undefined;
  /** Ranges of it may be asked for. */
  readonly ranges: boolean;
};

/** 200, 206, 304 or 416. @spec RFC 9110 §13.2.2, §14 */
export function contentResponse(content: Content, request: Headers): Response {
  const { body, etag, ageS } = content;
  const headers: Record<string, string> = { ...CORS_HEADERS, 'cache-control': content.cacheControl };
  if (etag !== undefined) headers['etag'] = etag;
  if (ageS !== undefined) headers['age'] = String(ageS);
  if (content.ranges) headers['accept-ranges'] = 'bytes';
  // Platforms compress texts by themselves.
  else headers['vary'] = 'Accept-Encoding';
  if (etag !== undefined && matches(request.get('if-none-match'), etag))
    return new Response(null, { status: 304, headers });
  headers['content-type'] = content.contentType;
  const range = content.ranges ? rangeOf(request, etag, body.length) : undefined;
  if (range === 'unsatisfiable') {
    headers['content-range'] = `bytes */${body.length}`;
    headers['cache-control'] = 'no-store';
    return new Response(null, { status: 416, headers });
  }
  if (range === undefined) {
    headers['content-length'] = String(body.length);
    return new Response(body, { status: 200, headers });
  }
  headers['content-range'] = `bytes ${range.first}-${range.last}/${body.length}`;
  headers['content-length'] = String(range.last - range.first + 1);
  return new Response(body.subarray(range.first, range.last + 1), { status: 206, headers });
}

function matches(header: string | null, etag: string): boolean {
  if (header === null) return false;
  const plain = etag.replace(/^W\//, '');
  return header.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === plain);
}

/** One range; several, and what is no range, are answered with the whole. */
function rangeOf(
  request: Headers,
  etag: string | undefined,
  length: number,
): { first: number; last: number } | 'unsatisfiable' | undefined {
  const header = request.get('range');
  const ifRange = request.get('if-range');
  if (header === null || (ifRange !== null && ifRange !== etag)) return undefined;
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header.trim());
  if (match === null || (match[1] === '' && match[2] === '')) return undefined;
  if (match[1] === '') {
    const count = Math.min(Number(match[2]), length);
    return count === 0 ? 'unsatisfiable' : { first: length - count, last: length - 1 };
  }
  const first = Number(match[1]);
  const last = match[2] === '' ? length - 1 : Math.min(Number(match[2]), length - 1);
  if (match[2] !== '' && Number(match[2]) < first) return undefined;
  return first >= length ? 'unsatisfiable' : { first, last };
}

const encoder = new TextEncoder();

/** A text as bytes that can be a body. The platforms' types differ in what the bytes lie in. */
export function encodeText(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text) as Uint8Array<ArrayBuffer>;
}
