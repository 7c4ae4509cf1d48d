import { Hono } from 'hono';
import { authenticate } from '#origin/api/api-access.ts';
import { ApiKeyCache } from '#origin/api/api-key-cache.ts';
import type { ApiEnv } from '#origin/api/api-caller.ts';
import { ApiRoutes } from '#origin/api/api-routes.ts';
import { serveLive } from '#origin/api/live-routes.ts';
import { serveOpenApi } from '#origin/api/openapi-routes.ts';
import { serveRecordings, type RecordingRoutesDeps } from '#origin/api/recording-routes.ts';
import { RequestRates } from '#origin/api/request-rates.ts';
import { serveStreams, type StreamRoutesDeps } from '#origin/api/stream-routes.ts';
import { serveTenants, type TenantRoutesDeps } from '#origin/api/tenant-routes.ts';
import { serveTokens, type TokenRoutesDeps } from '#origin/api/token-routes.ts';
import { serveWebhooks, type WebhookRoutesDeps } from '#origin/api/webhook-routes.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Metrics } from '#runtime/metrics.ts';

export type ApiDeps = StreamRoutesDeps &
  TokenRoutesDeps &
  Pick<RecordingRoutesDeps, 'catalog'> &
  Omit<TenantRoutesDeps, 'keyCache'> &
  WebhookRoutesDeps & {
    readonly adminToken: string;
    /** Requests a second that each key of the API may make. */
    readonly requestsPerSecond: number;
    readonly clock: Clock;
    readonly metrics: Metrics;
  };

/** Everything below `/api/v1/`: what anybody may see first, then what needs a token. */
export function createApi(deps: ApiDeps): Hono<ApiEnv> {
  const keyCache = new ApiKeyCache(deps.apiKeys, deps.clock);
  const rates = new RequestRates(deps.requestsPerSecond, deps);
  const open = new ApiRoutes();
  const closed = new ApiRoutes();
  serveLive(open, deps);
  serveStreams(closed, deps);
  serveRecordings(closed, deps);
  serveTokens(closed, deps);
  serveTenants(closed, { ...deps, keyCache });
  serveWebhooks(closed, deps);
  serveOpenApi(open, () => [...open.operations, ...closed.operations]);
  const app = new Hono<ApiEnv>();
  app.route('/', open.done());
  app.use('/api/v1/*', authenticate({ ...deps, keys: keyCache, rates }));
  app.route('/', closed.done());
  return app;
}
