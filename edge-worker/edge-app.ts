import { Hono } from 'hono';
import type { EdgeDeps, WaitUntil } from '#edge-worker/edge-deps.ts';
import {
  contentResponse,
  encodeText,
  EdgeProblem,
  optionsResponse,
  problemResponse,
  CORS_HEADERS,
} from '#edge-worker/http/answers.ts';
import { tokenAuthoriser, type AccessRequest } from '#edge-worker/http/authoriser.ts';
import { parsePlaybackPath, type PlaybackTarget } from '#edge-worker/http/playback-path.ts';
import { flavourCdn } from '#edge-worker/playlists/flavour-cdn.ts';
import { SessionPlaylists } from '#edge-worker/playlists/session-playlists.ts';
import { bakedSnapshot, type EdgeSettings } from '#edge-worker/settings.ts';
import { isLoopback, viewerPicture } from '#edge-worker/snapshot/viewer-picture.ts';
import { SnapshotSource, type PictureState } from '#edge-worker/snapshot/snapshot-source.ts';
import { Upstream } from '#edge-worker/upstream/upstream.ts';
import type { UpstreamAnswer } from '#edge-worker/upstream/upstream-answer.ts';
import { splitTokenPath } from '#protocol/access/token-path.ts';
import { DeliveryDirectiveError, QUERY_CHARS_MAX } from '#protocol/hls/delivery-directives.ts';
import { withMediaUriBase } from '#protocol/hls/media-uri-base.ts';

/** A running edge. */
export type EdgeApp = {
  /** Answers a request. Never throws. */
  fetch(request: Request, waitUntil: WaitUntil): Promise<Response>;
  /** Asks steering for its picture, so that the first viewer finds one. */
  warm(): Promise<PictureState>;
};

type Env = { Bindings: { readonly waitUntil: WaitUntil } };

/** A token goes into playlists as it came. */
const TOKEN_PREFIX = /^\/t\/[A-Za-z0-9._~*=-]{1,1024}$/;
/** Flavour playlists name the CDN in use: nobody may keep them for long. */
const FLAVOUR_CACHE_CONTROL = 'public, max-age=1';
/** Texts of one answer for different CDNs and tokens that are kept with it. */
const FLAVOUR_TEXTS_MAX = 32;
const PLAYLIST_TYPE = 'application/vnd.apple.mpegurl';

/**
 * The edge: `GET /live/{id}/master.m3u8` for each session, everything else of a stream as a CDN serves it, and below
 * `/live/{id}/via/{cdn}/` media playlists that name the media of one CDN; all of it below `/t/{token}` too. `/healthz`,
 * `/readyz`, `/metrics`.
 */
export function createEdgeApp(settings: EdgeSettings, deps: EdgeDeps): EdgeApp {
  const { clock, counters } = deps;
  const snapshots = new SnapshotSource(deps, {
    steeringUrls: settings.EDGE_STEERING_URLS,
    baked: bakedSnapshot(settings.EDGE_DEFAULT_CDNS),
  });
  const upstream = new Upstream(deps, {
    originUrls: settings.ORIGIN_URLS,
    pullToken: settings.ORIGIN_PULL_TOKEN,
    memoryBytesMax: settings.EDGE_MEMORY_MIB * 1024 * 1024,
    firstByteMarginMs: settings.EDGE_FIRST_BYTE_MARGIN_MS,
  });
  const sessions = new SessionPlaylists({
    tokenKeys: settings.STEERING_TOKEN_KEYS,
    steeringTtlS: settings.STEERING_TTL_S,
  });
  const authoriser = tokenAuthoriser(settings.ACCESS_TOKEN_KEYS);
  const flavourTexts = new WeakMap<UpstreamAnswer, Map<string, Uint8Array<ArrayBuffer>>>();

  const playback = async (request: Request, waitUntil: WaitUntil): Promise<Response> => {
    const url = new URL(request.url);
    const query = url.search.slice(1);
    if (query.length > QUERY_CHARS_MAX)
      throw new EdgeProblem(400, 'query_too_long', `The query is longer than ${QUERY_CHARS_MAX} characters.`);
    const { prefix, token, path } = splitTokenPath(url.pathname);
    const asked = parsePlaybackPath(path, query);
    if (asked === undefined || (prefix !== '' && !TOKEN_PREFIX.test(prefix)))
      throw new EdgeProblem(404, 'not_found', 'There is nothing of that name here.');
    const { target, flavour } = asked;
    const place = deps.place(request);
    const nowS = Math.floor(clock.nowMs() / 1_000);
    const bare = new URL(url);
    bare.pathname = path;
    const needsPicture = target.kind === 'multivariant' || flavour !== undefined;
    // Steering is asked while the origin is; what the look-up may cost counts from when the origin has answered.
    if (needsPicture) snapshots.prepare(waitUntil);
    const answer = await upstream.get(target, waitUntil);
    const view = needsPicture ? await snapshots.current(waitUntil) : undefined;
    const { content } = answer;
    // Only the answer tells; it is shared among all viewers, so that those without a token cost the origin nothing more.
    const session = answer.isProtected ? await admit({ token, url: bare, place, nowS }) : '';
    const picture = view === undefined ? undefined : viewerPicture(view.picture, url.hostname);
    if (answer.status !== 200) return errorAnswer(answer);
    if (picture !== undefined && content.kind === 'ladder') {
      const written = await sessions.write(content.ladder, picture, {
        streamId: target.streamId,
        prefix,
        query: url.searchParams,
        userAgent: request.headers.get('user-agent'),
        place,
        session,
        steeringBase: steeringBase(settings, url),
        nowS,
      });
      counters.add('edge_playlists_total', `kind="${written.kind}"`);
      return sessionAnswer(written.text, request);
    }
    if (picture !== undefined && content.kind === 'playlist' && target.kind === 'playlist') {
      const { streamId, renditionId } = target;
      const cdn = flavourCdn(picture, streamId, renditionId, flavour ?? '');
      const folder = `${cdn?.baseUrl ?? ''}${prefix}/live/${streamId}/${renditionId}/`;
      const body = flavourText(answer, folder, () => withMediaUriBase(content.playlist, folder));
      const cacheControl = answer.freshUntilMs === 0 ? 'no-cache' : FLAVOUR_CACHE_CONTROL;
      return contentResponse(
        {
          body,
          contentType: PLAYLIST_TYPE,
          cacheControl,
          etag: undefined,
          ageS: ageS(answer),
          ranges: false,
        },
        request.headers,
      );
    }
    return contentResponse(
      { ...answer, ageS: ageS(answer), ranges: target.kind === 'media' },
      request.headers,
    );
  };

  /** @throws {EdgeProblem} 401, 403 */
  const admit = async (request: AccessRequest): Promise<string> => {
    const admission = await authoriser(request);
    if ('session' in admission) return admission.session;
    counters.add('edge_refusals_total', `code="${admission.code}"`);
    throw new EdgeProblem(admission.status, admission.code, 'This stream is not for everybody.');
  };

  const flavourText = (
    answer: UpstreamAnswer,
    folder: string,
    write: () => string,
  ): Uint8Array<ArrayBuffer> => {
    const texts = flavourTexts.get(answer) ?? new Map<string, Uint8Array<ArrayBuffer>>();
    const known = texts.get(folder);
    if (known !== undefined) return known;
    const body = encodeText(write());
    if (texts.size < FLAVOUR_TEXTS_MAX) texts.set(folder, body);
    flavourTexts.set(answer, texts);
    return body;
  };
  const ageS = ({ madeAtMs }: UpstreamAnswer): number =>
    Math.max(0, Math.floor((clock.nowMs() - madeAtMs) / 1_000));

  const app = new Hono<Env>();
  const answerPlayback = async (request: Request, waitUntil: WaitUntil): Promise<Response> => {
    const response = await playback(request, waitUntil).catch(toProblem);
    counters.add('edge_requests_total', `kind="${kindOf(request.url)}",status="${response.status}"`);
    return response;
  };
  for (const path of ['/live/*', '/t/*']) {
    app.on(['GET'], path, (context) => answerPlayback(context.req.raw, context.env.waitUntil));
    app.on(['OPTIONS'], path, () => optionsResponse());
  }
  const text = (body: string, type = 'text/plain; charset=utf-8'): Response =>
    new Response(body, { headers: { 'content-type': type, 'cache-control': 'no-store' } });
  app.get('/healthz', () => text('ok\n'));
  // It serves with or without steering: what it knows of the CDNs is said, but is no reason to take it out.
  app.get('/readyz', async (context) => {
    const { state } = await snapshots.current(context.env.waitUntil);
    return text(`${JSON.stringify({ status: 'ready', snapshot: state })}\n`, 'application/json');
  });
  app.get('/metrics', () => text(counters.text(), 'text/plain; version=0.0.4; charset=utf-8'));
  app.notFound((context) =>
    problemResponse(
      context.req.method === 'GET' || context.req.method === 'HEAD'
        ? new EdgeProblem(404, 'not_found', 'There is nothing of that name here.')
        : new EdgeProblem(405, 'method_not_allowed', 'Use GET, HEAD or OPTIONS.'),
    ),
  );
  app.onError((error) => toProblem(error));

  const toProblem = (error: unknown): Response => {
    if (error instanceof EdgeProblem) return problemResponse(error);
    if (error instanceof DeliveryDirectiveError)
      return problemResponse(new EdgeProblem(400, error.code, error.message));
    counters.add('edge_failures_total', 'in="request"');
    return problemResponse(
      new EdgeProblem(500, 'internal_error', 'Something failed on our side; try again.'),
    );
  };

  return {
    fetch: async (request, waitUntil) => app.fetch(request, { waitUntil }),
    warm: async () => {
      const started: Promise<unknown>[] = [];
      await snapshots.current((work) => void started.push(work));
      await Promise.all(started);
      return (await snapshots.current(() => undefined)).state;
    },
  };
}

function sessionAnswer(text: string, request: Request): Response {
  const body = encodeText(text);
  return contentResponse(
    {
      body,
      contentType: PLAYLIST_TYPE,
      cacheControl: 'private, no-store',
      etag: undefined,
      ageS: undefined,
      ranges: false,
    },
    request.headers,
  );
}

/** What an origin said against a request, as it said it. */
function errorAnswer({ status, body, cacheControl }: UpstreamAnswer): Response {
  return new Response(body, {
    status,
    headers: {
      ...CORS_HEADERS,
      'content-type': 'application/problem+json',
      'cache-control': status === 404 ? cacheControl : 'no-store',
    },
  });
}

/**
 * Where the viewer reaches steering: as the settings say; else at the address that we know, unless that means this very
 * machine, which the viewer knows by the name that it reaches us by.
 */
function steeringBase({ STEERING_PUBLIC_URL, EDGE_STEERING_URLS }: EdgeSettings, request: URL): string {
  const known = EDGE_STEERING_URLS[0] ?? '';
  if (STEERING_PUBLIC_URL !== '') return STEERING_PUBLIC_URL;
  const steering = new URL(known);
  if (!isLoopback(steering.hostname) || isLoopback(request.hostname)) return known;
  steering.hostname = request.hostname;
  return steering.origin;
}

function kindOf(url: string): PlaybackTarget['kind'] {
  const path = url.split('?', 1)[0] ?? '';
  if (path.endsWith('/master.m3u8')) return 'multivariant';
  return path.endsWith('.m3u8') ? 'playlist' : 'media';
}
