import { problemParts, type ProblemError } from '#runtime/http/problem.ts';
import type { MediaAnswer, PlaylistAnswer } from '#origin/live/live-playback.ts';
import { acceptsGzip, matchesEtag, readRange } from '#origin/http/byte-range.ts';

/** The request headers that an answer depends on. */
export type AnswerConditions = {
  readonly acceptEncoding?: string | undefined;
  readonly ifNoneMatch?: string | undefined;
  readonly range?: string | undefined;
  readonly ifRange?: string | undefined;
};

/** An answer before it is sent. The body is shared by all who get it; nobody may write to it. */
export type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer> | null;
};

/** Sent with everything that a player on another site may read. Age tells a player how old a CDN's copy is. */
export const CORS_HEADERS = {
  'access-control-allow-origin': '*',
  'access-control-expose-headers': 'Age, Content-Length, Content-Range, Date, ETag, Retry-After',
} as const;

/** @spec rfc8216bis §4, content type of playlists */
const PLAYLIST_TYPE = 'application/vnd.apple.mpegurl';
/** Media never change and their URLs are never used twice. */
const MEDIA_CACHE_CONTROL = 'public, max-age=86400, immutable';
/** @spec rfc8216bis §B.1, RFC 9218: playlists before media, all media alike */
const PLAYLIST_PRIORITY = 'u=1';
const MEDIA_PRIORITY = 'u=3';

/** A playlist as text or gzip, or 304. */
export function answerPlaylist(answer: PlaylistAnswer, conditions: AnswerConditions): Answer {
  const isCompressed = acceptsGzip(conditions.acceptEncoding);
  const etag = `"${answer.rendered.digest}${isCompressed ? '-gzip' : ''}"`;
  const headers = {
    ...CORS_HEADERS,
    'cache-control': playlistCacheControl(answer),
    etag,
    priority: PLAYLIST_PRIORITY,
    vary: 'Accept-Encoding',
  };
  if (matchesEtag(conditions.ifNoneMatch, etag)) return { status: 304, headers, body: null };
  const body = isCompressed ? answer.rendered.gzip : answer.rendered.identity;
  return {
    status: 200,
    headers: {
      ...headers,
      'content-type': PLAYLIST_TYPE,
      'content-length': String(body.length),
      ...(isCompressed ? { 'content-encoding': 'gzip' } : {}),
    },
    body,
  };
}

/**
 * How long a cache may keep a playlist. An `interim` answer is none to keep: the URL is held the next time. An ended
 * playlist may give its URL to a new one.
 *
 * @spec rfc8216bis §B.1
 */
export function playlistCacheControl({
  freshness,
  targetDurationS,
}: Pick<PlaylistAnswer, 'freshness' | 'targetDurationS'>): string {
  switch (freshness) {
    case 'interim':
      return 'no-cache';
    case 'blocking':
      return `public, max-age=${6 * targetDurationS}`;
    case 'plain':
    case 'ended':
      return `public, max-age=${Math.max(1, Math.floor(targetDurationS / 2))}`;
  }
}

/** A segment, part or init segment: whole, one range of it, 304 or 416. @spec RFC 9110 §13.2.2, §14 */
export function answerMedia({ media, kind }: MediaAnswer, conditions: AnswerConditions): Answer {
  const etag = `"${media.digest}"`;
  const headers = {
    ...CORS_HEADERS,
    'cache-control': MEDIA_CACHE_CONTROL,
    etag,
    'accept-ranges': 'bytes',
    priority: MEDIA_PRIORITY,
  };
  if (matchesEtag(conditions.ifNoneMatch, etag)) return { status: 304, headers, body: null };
  const { length } = media.bytes;
  const isSameVersion = conditions.ifRange === undefined || conditions.ifRange === etag;
  const range = isSameVersion ? readRange(conditions.range, length) : 'whole';
  if (range === 'unsatisfiable')
    return {
      status: 416,
      headers: {
        ...CORS_HEADERS,
        'cache-control': 'no-store',
        'content-range': `bytes */${length}`,
        'content-length': '0',
      },
      body: null,
    };
  const type = { 'content-type': `${kind}/mp4` };
  if (range === 'whole')
    return {
      status: 200,
      headers: { ...headers, ...type, 'content-length': String(length) },
      body: media.bytes,
    };
  return {
    status: 206,
    headers: {
      ...headers,
      ...type,
      'content-range': `bytes ${range.first}-${range.last}/${length}`,
      'content-length': String(range.last - range.first + 1),
    },
    body: media.bytes.subarray(range.first, range.last + 1),
  };
}

/** An expected failure. */
export function answerProblem(problem: ProblemError): Answer {
  const { headers, body } = problemParts(problem);
  const bytes = new TextEncoder().encode(body);
  return {
    status: problem.status,
    headers: { ...CORS_HEADERS, ...headers, 'content-length': String(bytes.length) },
    body: bytes,
  };
}
