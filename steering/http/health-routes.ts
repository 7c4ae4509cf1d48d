import { Hono } from 'hono';
import type { Metrics } from '#runtime/metrics.ts';
import type { RegistrySource } from '#steering/registry/registry.ts';

export type HealthRoutesDeps = {
  readonly metrics: Metrics;
  /** False from the moment the service begins to stop. */
  readonly isServing: () => boolean;
  readonly source: () => RegistrySource;
  readonly databaseUp: () => boolean;
  /** `undefined`: there is no Redis to be connected to. */
  readonly redisUp: () => boolean | undefined;
};

/**
 * `/healthz`: the process answers. `/readyz`: players can be answered; 200 also while PostgreSQL or Redis is away, since
 * taking this node out would help nobody, with `degraded` and what is missing. 503 only before anything is known of any
 * CDN, and while stopping. `/metrics`: Prometheus.
 */
export function healthRoutes(deps: HealthRoutesDeps): Hono {
  const app = new Hono();
  app.get('/healthz', (context) => context.json({ ok: true }));
  app.get('/readyz', (context) => {
    const source = deps.source();
    const redis = deps.redisUp();
    const checks = {
      serving: { ok: deps.isServing(), detail: deps.isServing() ? 'serving' : 'stopping' },
      registry: { ok: source === 'database', detail: source },
      postgres: deps.databaseUp()
        ? { ok: true, detail: 'answers' }
        : { ok: false, detail: 'does not answer' },
      redis:
        redis === undefined
          ? { ok: true, detail: 'not used' }
          : redis
            ? { ok: true, detail: 'answers' }
            : { ok: false, detail: 'does not answer' },
    };
    const ready = checks.serving.ok && source !== 'none';
    const degraded = Object.values(checks).some(({ ok }) => !ok);
    context.header('cache-control', 'no-store');
    return context.json({ ready, degraded, checks }, ready ? 200 : 503);
  });
  app.get('/metrics', async (context) =>
    context.body(await deps.metrics.metrics(), 200, { 'content-type': deps.metrics.contentType }),
  );
  return app;
}
