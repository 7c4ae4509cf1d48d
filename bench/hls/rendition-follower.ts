import { nextPart, type PartPosition } from '#bench/hls/live-edge.ts';
import { readMediaPlaylist, type MediaPlaylist } from '#bench/hls/media-playlist.ts';

/** One answer to a playlist request. Times are epoch milliseconds with fractions, from a clock that never steps. */
export type PlaylistAnswer = {
  readonly url: string;
  /** The part that was asked for; `undefined` for the first, plain request. */
  readonly asked: PartPosition | undefined;
  readonly requestedAtMs: number;
  /** When the last byte was in. */
  readonly answeredAtMs: number;
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Only of a 200. */
  readonly playlist: MediaPlaylist | undefined;
};

/** Milliseconds since the Unix epoch that only ever grow, unlike `Date.now()`. */
export const epochMs = (): number => performance.timeOrigin + performance.now();

/** Asks for a playlist once. @throws what `fetch` throws, or the reader on a 200 that is no playlist */
export async function requestPlaylist(
  url: string,
  asked: PartPosition | undefined,
  signal: AbortSignal,
): Promise<PlaylistAnswer> {
  const target = new URL(url);
  if (asked !== undefined) {
    target.searchParams.set('_HLS_msn', String(asked.msn));
    target.searchParams.set('_HLS_part', String(asked.part));
  }
  const requestedAtMs = epochMs();
  const response = await fetch(target, { signal });
  const text = await response.text();
  return {
    url: target.href,
    asked,
    requestedAtMs,
    answeredAtMs: epochMs(),
    status: response.status,
    headers: response.headers,
    text,
    playlist: response.status === 200 ? readMediaPlaylist(text) : undefined,
  };
}

/**
 * Follows a media playlist as a low-latency player does: one plain request, then one blocking reload per part. Yields
 * every answer; ends with EXT-X-ENDLIST, with the first answer that is not 200, or when `signal` aborts.
 *
 * @spec rfc8216bis §6.3.4
 */
export async function* followRendition(
  url: string,
  signal: AbortSignal,
): AsyncGenerator<PlaylistAnswer, void> {
  let asked: PartPosition | undefined;
  while (!signal.aborted) {
    let answer: PlaylistAnswer;
    try {
      answer = await requestPlaylist(url, asked, signal);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    yield answer;
    if (answer.playlist === undefined || answer.playlist.endlist) return;
    asked = nextPart(answer.playlist);
  }
}
