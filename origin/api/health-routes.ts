import { Hono } from 'hono';
import { Registry } from 'prom-client';

export type HealthRoutesDeps = {
  /** Everything that is counted, in the text format of Prometheus. */
  readonly metricsText: () => Promise<string>;
  /** What this service needs, by name. */
  readonly checks: () => Readonly<Record<string, { readonly ok: boolean; readonly detail: string }>>;
  /** False from the moment the service begins to stop. */
  readonly isServing: () => boolean;
};

/**
 * `/healthz`: the process answers. `/readyz`: everything works. `/readyz?plane=media`: publishing that has begun and
 * playback work, which they do without a database; ask this one before taking viewers away. `/metrics`: Prometheus.
 */
export function createHealthRoutes(deps: HealthRoutesDeps): Hono {
  const app = new Hono();
  app.get('/healthz', (context) => context.json({ ok: true }));
  app.get('/readyz', (context) => {
    const serving = deps.isServing();
    const checks = { media: { ok: serving, detail: serving ? 'serving' : 'stopping' }, ...deps.checks() };
    const needed = context.req.query('plane') === 'media' ? [checks.media] : Object.values(checks);
    const ready = needed.every(({ ok }) => ok);
    context.header('cache-control', 'no-store');
    return context.json({ ready, checks }, ready ? 200 : 503);
  });
  app.get('/metrics', async (context) =>
    context.body(await deps.metricsText(), 200, { 'content-type': Registry.PROMETHEUS_CONTENT_TYPE }),
  );
  return app;
}
