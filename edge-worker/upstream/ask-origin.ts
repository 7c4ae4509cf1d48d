import type { EdgeDeps } from '#edge-worker/edge-deps.ts';
import { canonicalPath, type PlaybackTarget } from '#edge-worker/http/playback-path.ts';
import {
  ageOf,
  BODY_BYTES_MAX,
  contentOf,
  freshForMs,
  type UpstreamAnswer,
} from '#edge-worker/upstream/upstream-answer.ts';
import { ACCESS_HEADER } from '#protocol/access/access-header.ts';
import { PlaylistReadError } from '#protocol/hls/read-media-playlist.ts';

/** Where to ask, and what lets us have protected streams; '' when nothing does. */
export type AskedOrigin = { readonly url: string; readonly pullToken: string };

/** How one request to one origin ended. */
export type OriginOutcome =
  | { readonly kind: 'answered'; readonly answer: UpstreamAnswer }
  /** 404: another origin may have it. */
  | { readonly kind: 'missing'; readonly answer: UpstreamAnswer }
  /** A 200 that must not be passed on. */
  | { readonly kind: 'invalid' }
  | { readonly kind: 'failed' };

/** Statuses that mean something to a viewer: the rest are an origin's own trouble. */
const PASSED_ON: ReadonlySet<number> = new Set([200, 400, 401, 403, 404]);

/** The answer is no good, whatever its status; the message is for nobody. */
class BadAnswerError extends Error {
  override readonly name = 'BadAnswerError';
  readonly code = 'origin_answer_bad';
}

/**
 * Asks one origin. Never throws: a failure is an outcome, and counted.
 *
 * @param heard called when the headers are there
 */
export async function askOrigin(
  deps: Pick<EdgeDeps, 'fetch' | 'clock' | 'counters'>,
  origin: AskedOrigin,
  target: PlaybackTarget,
  signal: AbortSignal,
  heard: () => void,
): Promise<OriginOutcome> {
  const outcome = await ask(deps, origin, target, signal, heard).catch((error: unknown): OriginOutcome => {
    const isBad =
      error instanceof PlaylistReadError || error instanceof BadAnswerError || isDecodingError(error);
    return { kind: isBad ? 'invalid' : 'failed' };
  });
  deps.counters.add(
    'edge_upstream_requests_total',
    `outcome="${signal.aborted ? 'given_up' : outcome.kind}"`,
  );
  return outcome;
}

async function ask(
  { fetch, clock }: Pick<EdgeDeps, 'fetch' | 'clock'>,
  origin: AskedOrigin,
  target: PlaybackTarget,
  signal: AbortSignal,
  heard: () => void,
): Promise<OriginOutcome> {
  const response = await fetch(origin.url + canonicalPath(target), {
    headers: {
      'accept-encoding': 'identity',
      ...(origin.pullToken === '' ? {} : { authorization: `Bearer ${origin.pullToken}` }),
    },
    redirect: 'manual',
    signal,
  });
  heard();
  const { status, headers } = response;
  if (!PASSED_ON.has(status)) {
    await response.body?.cancel();
    return { kind: 'failed' };
  }
  const body = await readBody(response, status === 200 ? BODY_BYTES_MAX[target.kind] : BODY_BYTES_MAX.error);
  const nowMs = clock.nowMs();
  const answer: UpstreamAnswer = {
    status,
    body,
    contentType: typeOf(target, status),
    cacheControl: cacheControlOf(headers),
    etag: etagOf(headers),
    madeAtMs: nowMs - ageOf(headers) * 1_000,
    freshUntilMs: nowMs + freshForMs(target, status, headers),
    isProtected: headers.get(ACCESS_HEADER) === 'token',
    content: status === 200 ? contentOf(target, body) : { kind: 'bytes' },
  };
  return { kind: status === 404 ? 'missing' : 'answered', answer };
}

/** @throws {BadAnswerError} when it is longer than `bytesMax`, shorter than announced, or compressed */
async function readBody(response: Response, bytesMax: number): Promise<Uint8Array<ArrayBuffer>> {
  const { headers } = response;
  const encoding = headers.get('content-encoding');
  const announced = headers.get('content-length');
  const length = announced === null ? undefined : Number(announced);
  if ((encoding !== null && encoding !== 'identity') || (length !== undefined && !(length <= bytesMax))) {
    await response.body?.cancel();
    throw new BadAnswerError();
  }
  const body = length === undefined ? await readUpTo(response, bytesMax) : await whole(response);
  if (length !== undefined && body.length !== length) throw new BadAnswerError();
  return body;
}

async function whole(response: Response): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await response.arrayBuffer());
}

async function readUpTo(response: Response, bytesMax: number): Promise<Uint8Array<ArrayBuffer>> {
  const reader = response.body?.getReader();
  if (reader === undefined) return new Uint8Array();
  const pieces: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const piece: Uint8Array = value;
    length += piece.length;
    if (length > bytesMax) {
      await reader.cancel();
      throw new BadAnswerError();
    }
    pieces.push(piece);
  }
  const body = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    body.set(piece, at);
    at += piece.length;
  }
  return body;
}

/** Never what somebody else says: a playlist is one, media are media. */
function typeOf(target: PlaybackTarget, status: number): string {
  if (status !== 200) return 'application/problem+json';
  if (target.kind !== 'media') return 'application/vnd.apple.mpegurl';
  return target.renditionId.startsWith('audio') ? 'audio/mp4' : 'video/mp4';
}

function cacheControlOf(headers: Headers): string {
  const text = headers.get('cache-control') ?? '';
  return /^[\w\s,="-]{1,128}$/.test(text) ? text : 'no-cache';
}

function etagOf(headers: Headers): string | undefined {
  const text = headers.get('etag') ?? '';
  return /^(?:W\/)?"[\w./+=-]{1,128}"$/.test(text) ? text : undefined;
}

/** What a TextDecoder throws; Node and workerd agree on the class only. */
function isDecodingError(error: unknown): boolean {
  return error instanceof TypeError && /decod|utf-8|encoded data/i.test(error.message);
}
