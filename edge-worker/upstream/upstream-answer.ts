import { checkMediaPlaylist, type CheckedMediaPlaylist } from '#protocol/hls/media-uri-base.ts';
import { readMultivariantLadder, type MultivariantLadder } from '#protocol/hls/multivariant-ladder.ts';
import type { PlaybackTarget } from '#edge-worker/http/playback-path.ts';

/** What an origin answered, as plain bytes: shared by all who wait for it and kept. Nobody may write to it. */
export type UpstreamAnswer = {
  /** 200, 400, 401, 403 or 404. */
  readonly status: number;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly contentType: string;
  readonly cacheControl: string;
  readonly etag: string | undefined;
  /** Wall clock at which an origin made it, by its Age. */
  readonly madeAtMs: number;
  /** Until when it may be answered again without asking. */
  readonly freshUntilMs: number;
  readonly content: AnswerContent;
  /** Only for viewers with a playback token. */
  readonly isProtected: boolean;
};

/** The body as far as it has been read and checked. */
export type AnswerContent =
  | { readonly kind: 'ladder'; readonly ladder: MultivariantLadder }
  | { readonly kind: 'playlist'; readonly playlist: CheckedMediaPlaylist }
  | { readonly kind: 'bytes' };

/** Most bytes of an answer. Playlists are text of some kilobytes, parts and segments of 50 Mbit/s fit. */
export const BODY_BYTES_MAX = {
  multivariant: 256 * 1024,
  playlist: 1024 * 1024,
  media: 24 * 1024 * 1024,
  error: 8 * 1024,
} as const;
/** A playlist without directives changes with every part: kept only so long that a crowd's requests meet. */
const PLAIN_PLAYLIST_FRESH_MS = 250;
/** What is missing may be there in a moment. */
const MISSING_FRESH_MS = 500;

/** How long an answer is fresh by its headers, ms. @spec RFC 9111 §4.2 */
export function freshForMs(target: PlaybackTarget, status: number, headers: Headers): number {
  const control = headers.get('cache-control') ?? '';
  if (
    (status !== 200 && status !== 404) ||
    /(?:^|[\s,])(?:no-store|no-cache|private)(?:[\s,=]|$)/i.test(control)
  )
    return 0;
  const maxAge = /(?:^|[\s,])(?:s-maxage|max-age)="?(\d{1,9})/i.exec(control);
  const ms = maxAge === null ? 0 : Math.max(0, Number(maxAge[1]) - ageOf(headers)) * 1_000;
  if (status !== 200) return Math.min(ms, MISSING_FRESH_MS);
  if (target.kind === 'playlist' && target.directives.block === undefined)
    return Math.min(ms, PLAIN_PLAYLIST_FRESH_MS);
  return ms;
}

/** Seconds that the answer has been in caches before us. @spec RFC 9111 §5.1 */
export function ageOf(headers: Headers): number {
  const text = headers.get('age') ?? '';
  return /^\d{1,9}$/.test(text) ? Number(text) : 0;
}

/**
 * Reads and checks the body of a 200.
 *
 * @throws {PlaylistReadError} when it is not what an origin writes
 * @throws {TypeError} when a playlist is not UTF-8
 */
export function contentOf(target: PlaybackTarget, body: Uint8Array): AnswerContent {
  if (target.kind === 'media') return { kind: 'bytes' };
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
  return target.kind === 'multivariant'
    ? { kind: 'ladder', ladder: readMultivariantLadder(text) }
    : { kind: 'playlist', playlist: checkMediaPlaylist(text) };
}
