import { Hono, type Context } from 'hono';
import { bundlePlayer, type PlayerAsset, type PlayerAssets } from '#origin/player/player-assets.ts';
import { STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import type { Logger } from '#runtime/log.ts';

/** An edge that gives each viewer a playlist, and all that the viewer may be sent to from there. */
export type PlayerEdge = { readonly url: string; readonly mediaOrigins: readonly string[] };

/** What the player page needs from its service. */
export type PlayerRoutesDeps = {
  readonly logger: Logger;
  /**
   * Origins (scheme, host, port) other than this one from which media may be played: CDNs and the steering server.
   * They go into the page's Content-Security-Policy; without any, the page talks to its own host only.
   */
  readonly mediaOrigins?: readonly string[];
  /** Where the page begins, for a viewer that reaches us by the name `host`; without it at this origin. */
  readonly edge?: (host: string) => PlayerEdge | undefined;
  /** Replaces the bundler; for tests. */
  readonly bundle?: () => Promise<PlayerAssets>;
};

/**
 * The player page: `GET /` lists the live streams and plays the chosen one, `GET /watch/{id}` is a deep link to a stream
 * (so is `/?stream={id}`), `GET /player/*` are its files. Bundles when it is created; requests wait for that.
 *
 * Mount it at the root of the origin's app. It uses `GET /api/v1/live` and the playback URLs of that answer.
 */
export function createPlayerRoutes(deps: PlayerRoutesDeps): Hono {
  const assets = (deps.bundle ?? bundlePlayer)();
  assets.catch((error: unknown) => deps.logger.error({ err: error }, 'the player page does not bundle'));
  const app = new Hono();

  const page = async (context: Context): Promise<Response> => {
    const { hostname } = new URL(context.req.url);
    const edge = HOST_PATTERN.test(hostname) ? deps.edge?.(hostname) : undefined;
    const mediaOrigins = [...(deps.mediaOrigins ?? []), ...(edge === undefined ? [] : edge.mediaOrigins)];
    const headers = {
      'cache-control': 'no-cache',
      'content-security-policy': contentSecurityPolicy(mediaOrigins),
      'referrer-policy': 'same-origin',
      'x-frame-options': 'SAMEORIGIN',
    };
    const { page: asset } = await assets;
    return edge === undefined ? send(context, asset, headers) : sendWithEdge(asset, headers, edge);
  };
  app.get('/', page);
  app.get('/watch/:id', async (context, next) =>
    STREAM_ID_PATTERN.test(context.req.param('id')) ? page(context) : next(),
  );
  app.get('/player/:file', async (context, next) => {
    const file = (await assets).files.find(({ path }) => path === context.req.path);
    if (file === undefined) return next();
    return send(context, file, { 'cache-control': 'public, max-age=31536000, immutable' });
  });
  return app;
}

/** Host names and addresses: the header is a stranger's text and goes into the page. */
const HOST_PATTERN = /^[A-Za-z0-9.-]{1,253}$|^\[[0-9A-Fa-f:.]{2,45}\]$/;

/** The page for a viewer of an edge: says where it is, which is not the same for all, so it is made anew. */
function sendWithEdge(asset: PlayerAsset, headers: Record<string, string>, edge: PlayerEdge): Response {
  const html = new TextDecoder().decode(asset.body);
  const said = html.replace('<head>', `<head>\n    <meta name="playback-edge" content="${edge.url}" />`);
  return new Response(said, {
    headers: { ...headers, 'content-type': asset.contentType, 'x-content-type-options': 'nosniff' },
  });
}

function send(context: Context, asset: PlayerAsset, headers: Record<string, string>): Response {
  const zipped = acceptsGzip(context.req.header('accept-encoding') ?? '');
  const etag = zipped ? asset.etag.replace(/"$/, '-gzip"') : asset.etag;
  const common = { ...headers, etag, vary: 'accept-encoding', 'x-content-type-options': 'nosniff' };
  if (context.req.header('if-none-match') === etag)
    return new Response(null, { status: 304, headers: common });
  return new Response(zipped ? asset.gzip : asset.body, {
    headers: {
      ...common,
      'content-type': asset.contentType,
      ...(zipped ? { 'content-encoding': 'gzip' } : {}),
    },
  });
}

function acceptsGzip(acceptEncoding: string): boolean {
  return acceptEncoding.split(',').some((item) => {
    const [coding = '', ...parameters] = item.split(';').map((word) => word.trim().toLowerCase());
    return coding === 'gzip' && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
  });
}

function contentSecurityPolicy(mediaOrigins: readonly string[]): string {
  const media = ["'self'", ...mediaOrigins].join(' ');
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    `connect-src ${media}`,
    `media-src ${media} blob:`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'self'",
  ].join('; ');
}
