import { Hono } from 'hono';
import type { Clock } from '#runtime/clock.ts';
import { notFound } from '#runtime/http/problem.ts';
import { listen } from '#runtime/http/server.ts';
import { startWhole, type Disposable, type DisposableStack } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { IngestSupervisor } from '#transcoder/ingest/ingest-supervisor.ts';
import { requireFfmpeg } from '#transcoder/ladder/ffmpeg-capabilities.ts';
import { toSessionSettings, type TranscoderSettings } from '#transcoder/settings.ts';
import { TranscodeMetrics } from '#transcoder/transcode-metrics.ts';
import { SessionRegistry } from '#transcoder/worker/session-registry.ts';

export type TranscoderDeps = { readonly clock: Clock; readonly logger: Logger; readonly metrics: Metrics };

/** A running transcoder. */
export type Transcoder = Disposable & {
  /** Where broadcasters connect. */
  readonly rtmpPort: number;
  /** Where /healthz, /readyz and /metrics are. */
  readonly url: string;
  readonly port: number;
};

/**
 * Builds and starts a transcoder: the RTMP ingest in a process of its own, a transcode session for every broadcaster,
 * and a small HTTP port for health and metrics. Serves production, tests and the all-in-one start alike.
 *
 * @throws errors with a `code` for everything that a person can mend: ffmpeg missing, a port that is taken
 */
export function createTranscoder(settings: TranscoderSettings, deps: TranscoderDeps): Promise<Transcoder> {
  return startWhole(deps.logger, (started) => start(settings, deps, started));
}

async function start(
  settings: TranscoderSettings,
  deps: TranscoderDeps,
  started: DisposableStack,
): Promise<Transcoder> {
  await requireFfmpeg();
  const ingest = new IngestSupervisor(
    {
      rtmpPort: settings.RTMP_PORT,
      rtmpHost: settings.RTMP_HOST,
      originUrls: settings.ORIGIN_URLS,
      ingestToken: settings.INGEST_TOKEN,
      limits: settings.ingestLimits,
    },
    deps,
  );
  const http = await listen(createRoutes(deps, () => ingest.ready).fetch, {
    port: settings.TRANSCODER_PORT,
    host: settings.TRANSCODER_HOST,
    connectionsMax: 256,
  });
  started.add('http', http, (server) => server.close());
  started.add('ingest', ingest, (supervisor) => supervisor.close());
  // Added after the ingest, so closed before it: the last parts are stored before the origin hears of the end.
  const sessions = started.add(
    'sessions',
    new SessionRegistry(toSessionSettings(settings), settings.TRANSCODER_SESSIONS_MAX, {
      clock: deps.clock,
      logger: deps.logger.child({ subsystem: 'transcode' }),
      metrics: new TranscodeMetrics(deps.metrics),
    }),
    (registry) => registry.close(),
  );
  ingest.onPublish((publish) => sessions.begin(publish));
  const { rtmpPort } = await ingest.start();
  deps.logger.info({ rtmpPort, url: http.url }, 'transcoder started');
  return { rtmpPort, url: http.url, port: http.port, close: () => started.close(deps.logger) };
}

function createRoutes(deps: TranscoderDeps, isReady: () => boolean): Hono {
  const app = new Hono();
  app.notFound(notFound);
  app.get('/healthz', (context) => context.json({ ok: true }));
  app.get('/readyz', (context) => {
    const ready = isReady();
    const checks = { ingest: { ok: ready, detail: ready ? 'listening' : 'not listening' } };
    context.header('cache-control', 'no-store');
    return context.json({ ready, checks }, ready ? 200 : 503);
  });
  app.get('/metrics', async (context) =>
    context.body(await deps.metrics.metrics(), 200, { 'content-type': deps.metrics.contentType }),
  );
  return app;
}
