import { splitTokenPath } from '#protocol/access/token-path.ts';

/** The URL of a playback request in its pieces, as they were sent: nothing is decoded, for no name of ours needs it. */
export type PlaybackTarget = {
  /** The playback token that the path began with. */
  readonly token: string | undefined;
  /** From `/live/` on, without the query. */
  readonly path: string;
  readonly streamId: string;
  /** Undefined for what lies directly below the stream. */
  readonly renditionId: string | undefined;
  readonly file: string;
  /** Without the question mark. */
  readonly query: string;
};

const PREFIX = '/live/';

/**
 * Splits `/live/{stream}/{file}` and `/live/{stream}/{rendition}/{file}`, with or without `/t/{token}`, scheme and host
 * before it.
 *
 * @returns undefined when the request is for something else
 * @spec RFC 9112 §3.2.1, §3.2.2
 */
export function splitTarget(url: string): PlaybackTarget | undefined {
  const { token, path: target } = splitTokenPath(url.startsWith('/') ? url : originForm(url));
  if (!target.startsWith(PREFIX)) return undefined;
  const mark = target.indexOf('?');
  const end = mark === -1 ? target.length : mark;
  const query = mark === -1 ? '' : target.slice(mark + 1);
  const first = target.indexOf('/', PREFIX.length);
  if (first === -1 || first > end) return undefined;
  const path = target.slice(0, end);
  const streamId = target.slice(PREFIX.length, first);
  const second = target.indexOf('/', first + 1);
  if (second === -1 || second > end)
    return { token, path, streamId, renditionId: undefined, file: target.slice(first + 1, end), query };
  return {
    token,
    path,
    streamId,
    renditionId: target.slice(first + 1, second),
    file: target.slice(second + 1, end),
    query,
  };
}

/** The path and query of an absolute-form request target. */
function originForm(url: string): string {
  return /^https?:\/\/[^/?#]*(\/.*)$/i.exec(url)?.[1] ?? '';
}
