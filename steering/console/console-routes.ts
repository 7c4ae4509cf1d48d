import { Hono, type Context } from 'hono';
import { notFound } from '#runtime/http/problem.ts';
import type { Logger } from '#runtime/log.ts';
import { bundleConsole, type ConsoleAsset, type ConsoleAssets } from '#steering/console/console-assets.ts';

export type ConsoleRoutesDeps = {
  readonly logger: Logger;
  /** Replaces the bundler; for tests. */
  readonly bundle?: () => Promise<ConsoleAssets>;
};

/**
 * The page talks to its own host and loads nothing from anywhere else; no inline script or style, no frame, no form that
 * leaves it.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ');

const COMMON = {
  'content-security-policy': POLICY,
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'cross-origin-opener-policy': 'same-origin',
} as const;

/**
 * The console for ops: `GET /console/` and its files. Public, because it holds no data; everything it shows comes from the
 * API with the token that the operator types in. Bundles when it is created; requests wait for that. Mount it at the root
 * of the steering server's app.
 */
export function createConsoleRoutes(deps: ConsoleRoutesDeps): Hono {
  const assets = (deps.bundle ?? bundleConsole)();
  assets.catch((error: unknown) => deps.logger.error({ err: error }, 'the console does not bundle'));
  const app = new Hono();
  app.get('/console', (context) => context.redirect('/console/', 308));
  app.get('/console/', async (context) =>
    send(context, (await assets).page, { 'cache-control': 'no-cache' }),
  );
  app.get('/console/:file', async (context) => {
    const file = (await assets).files.find(({ name }) => name === context.req.param('file'));
    if (file === undefined) return notFound(context);
    return send(context, file, { 'cache-control': 'public, max-age=31536000, immutable' });
  });
  return app;
}

function send(context: Context, asset: ConsoleAsset, headers: Record<string, string>): Response {
  const all = { ...COMMON, ...headers, etag: asset.etag };
  if (context.req.header('if-none-match') === asset.etag)
    return new Response(null, { status: 304, headers: all });
  return new Response(asset.body, { headers: { ...all, 'content-type': asset.contentType } });
}
