/**
 * A GET or HEAD without a body, in one piece, written as nearly all clients write it. Everything else is for Node's parser:
 * this one refuses rather than guesses, so the two can never understand the same bytes differently.
 */
export type PlainRequest = {
  readonly method: 'GET' | 'HEAD';
  /** Path and query. */
  readonly url: string;
  readonly acceptEncoding: string | undefined;
  readonly ifNoneMatch: string | undefined;
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
  readonly authorization: string | undefined;
};

/** Most bytes of such a request. */
export const PLAIN_REQUEST_BYTES_MAX = 8 * 1024;

const REQUEST_LINE = /^(GET|HEAD) (\/[\w\-.~/?=&%+,:;@!$'()*]*) HTTP\/1\.1\r\n/;
/** Nothing but whole header lines: no folded ones, no control characters, nothing beyond ASCII. @spec RFC 9112 §5 */
const HEADERS = /^(?:[\w!#$%&'*+.^`|~-]{1,64}:[\t\x20-\x7e]*\r\n){1,64}\r\n$/;
/** Those that matter here, and those that make a request something else than a plain one. Always searched from the start. */
const NOTED =
  /(?:^|\n)(host|accept-encoding|if-none-match|range|if-range|authorization|connection|content-length|transfer-encoding|upgrade|expect|te|trailer|http2-settings):[\t ]*([^\r]*)/gi;

/** Reads a request; undefined when it is not a plain one. */
export function readPlainRequest(chunk: Buffer): PlainRequest | undefined {
  const { length } = chunk;
  if (length > PLAIN_REQUEST_BYTES_MAX || chunk[length - 1] !== 0x0a) return undefined;
  const text = chunk.toString('latin1');
  const line = REQUEST_LINE.exec(text);
  if (line === null) return undefined;
  const headers = text.slice(line[0].length);
  if (!HEADERS.test(headers)) return undefined;
  const noted: Record<string, string> = {};
  NOTED.lastIndex = 0;
  for (let found = NOTED.exec(headers); found !== null; found = NOTED.exec(headers)) {
    const [, name = '', value = ''] = found;
    const known = name.toLowerCase();
    // Twice the same is for Node to judge.
    if (known in noted) return undefined;
    noted[known] = value.trimEnd();
  }
  const { host, connection = 'keep-alive' } = noted;
  if (host === undefined || host === '' || connection.toLowerCase() !== 'keep-alive') return undefined;
  for (const name of OTHER_KINDS) if (name in noted) return undefined;
  return {
    method: line[1] === 'HEAD' ? 'HEAD' : 'GET',
    url: line[2] ?? '',
    acceptEncoding: noted['accept-encoding'],
    ifNoneMatch: noted['if-none-match'],
    range: noted['range'],
    ifRange: noted['if-range'],
    authorization: noted['authorization'],
  };
}

const OTHER_KINDS = [
  'content-length',
  'transfer-encoding',
  'upgrade',
  'expect',
  'te',
  'trailer',
  'http2-settings',
] as const;
