import { join } from 'node:path';
import { Hono } from 'hono';
import type { Bus } from '#runtime/bus/bus.ts';
import { openBus } from '#runtime/bus/open-bus.ts';
import type { Clock } from '#runtime/clock.ts';
import { notFound, onError, ProblemError, problemResponse } from '#runtime/http/problem.ts';
import { HttpMetrics } from '#runtime/http/http-metrics.ts';
import { listen, type NodeRequest } from '#runtime/http/server.ts';
import { DEFAULT_SLOW_READER_LIMITS, SlowReaders } from '#runtime/http/slow-readers.ts';
import { readTlsFiles } from '#runtime/http/tls-files.ts';
import { startWhole, type Disposable, type DisposableStack } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { DatabaseUnavailableError } from '#runtime/postgres/database-errors.ts';
import type { Database } from '#runtime/postgres/database.ts';
import { PlaybackAccess } from '#origin/access/playback-access.ts';
import { PlaybackTokens } from '#origin/access/playback-tokens.ts';
import { createApi } from '#origin/api/api.ts';
import { createHealthRoutes } from '#origin/api/health-routes.ts';
import { DEFAULT_STREAM_SETTINGS } from '#origin/api/stream-requests.ts';
import { OriginCluster, type OriginClusterDeps } from '#origin/cluster/origin-cluster.ts';
import { openControlPlane, type ControlPlane } from '#origin/control-plane.ts';
import { behindGate, OverloadGate, overloadLimits, shedOverload } from '#origin/http/overload-gate.ts';
import { createPlainPlayback, createPlaybackListener } from '#origin/http/playback-listener.ts';
import { createPlaybackRoutes } from '#origin/http/playback-routes.ts';
import { createUploadRoutes } from '#origin/http/upload-routes.ts';
import { LiveStreams } from '#origin/live/live-streams.ts';
import { createPlayerRoutes, type PlayerEdge } from '#origin/player/player-routes.ts';
import { openRecorder } from '#origin/recording/open-recorder.ts';
import { RecordedPlayback } from '#origin/recording/recorded-playback.ts';
import type { Recorder } from '#origin/recording/recorder.ts';
import { keepStreamKey } from '#origin/ready-made-key.ts';
import { DEFAULT_TENANT_ID } from '#origin/registry/tenants-table.ts';
import type { UnnamedSettings } from '#origin/registry/stream-registry.ts';
import { createSessionRoutes } from '#origin/sessions/session-routes.ts';
import { accessKeys, liveSettings, pullTokens } from '#origin/derived-settings.ts';
import type { OriginSettings } from '#origin/settings.ts';
import { createWorkerRoutes } from '#origin/workers/worker-routes.ts';
import { ServingWorkers } from '#origin/workers/serving-workers.ts';

export type OriginDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** A database to use instead of the one in the settings; it stays open when the origin is closed. */
  readonly database?: Database;
  /** A bus to use instead of the one in the settings; it stays open when the origin is closed. */
  readonly bus?: Bus;
  /**
   * RTMP URLs to show in API answers, without the key, to a client that reaches this machine by the name `host`; asked
   * for every answer, so that it may tell a port that is known later. Without it those of the settings.
   */
  readonly ingestUrls?: (host: string) => readonly string[];
  /** The edge that the player page begins at, for a viewer that reaches this machine by the name `host`. */
  readonly playerEdge?: (host: string) => PlayerEdge | undefined;
};

/** A stream that is to be there from the start. */
export type ReadyMadeStream = Partial<UnnamedSettings> & {
  readonly id: string;
  /** Its key, when the caller keeps it; otherwise one is made and kept in DATA_DIR. */
  readonly streamKey?: string;
};

/** A running origin. */
export type Origin = Disposable & {
  /** As a client on this machine reaches it. */
  readonly url: string;
  readonly port: number;
  /**
   * Makes sure that a stream exists and returns a key that opens it. An existing stream keeps its settings and its
   * newest key.
   */
  ensureStream(stream: ReadyMadeStream): Promise<{ readonly id: string; readonly streamKey: string }>;
};

const MIB = 1024 * 1024;
const RETRY_AFTER_S = 2;
/** Longest time that answers under way get when the origin stops. */
const CLOSE_GRACE_MS = 2_000;
/** How long an origin that stops still takes connections, for those who have not seen yet that it is not ready. */
const DRAIN_LINGER_MS = 1_000;

/**
 * Builds and starts an origin: the live window with its playback and upload routes, the stream API, publish sessions,
 * the player page. Serves production, tests and the all-in-one start alike.
 *
 * @throws errors with a `code` for everything that a person can mend: settings, ports, certificates, the database
 */
export function createOrigin(settings: OriginSettings, deps: OriginDeps): Promise<Origin> {
  return startWhole(deps.logger, (started) => start(settings, deps, started));
}

async function start(settings: OriginSettings, deps: OriginDeps, started: DisposableStack): Promise<Origin> {
  const { logger } = deps;
  const tls = await readTlsFiles(
    { name: 'ORIGIN_TLS_CERT_FILE', path: settings.ORIGIN_TLS_CERT_FILE },
    { name: 'ORIGIN_TLS_KEY_FILE', path: settings.ORIGIN_TLS_KEY_FILE },
  );
  const recorder = await openRecorder(settings, deps, started);
  const gate = new OverloadGate(overloadLimits(settings.ORIGIN_OVERLOAD_DELAY_MS), deps);
  started.add('overload gate', gate, () => gate.close());
  let cluster: OriginCluster | undefined = undefined;
  const live = new LiveStreams(liveSettings(settings), {
    ...deps,
    recorder: behindGate(recorder, gate),
    isLastOrigin: (id) => cluster?.isLastOrigin(id) ?? true,
  });
  let control: ControlPlane | undefined = undefined;
  cluster = await createCluster(settings, deps, live, () => control?.sessions.statuses() ?? [], started);
  control = await openControlPlane(settings, { ...deps, live, cluster }, started);
  started.add('recorder', recorder, () => recorder.close());
  await restoreStreams(recorder, live, control);
  let serving = true;
  const keys = await accessKeys(settings);
  const tokens = new PlaybackTokens(keys, deps.clock);
  let workers: ServingWorkers | undefined = undefined;
  const metricsText = (): Promise<string> => (workers ?? deps.metrics).metrics();
  const parts = { ...control, tokens, cluster, gate, metricsText, recorder };
  const app = createApp(settings, deps, live, parts, () => serving);
  const { directory } = control;
  const access = new PlaybackAccess(keys, pullTokens(settings), {
    ...deps,
    accessOf: (id) => directory.accessOf(id),
  });
  const playback = createPlaybackRoutes(live, {
    logger,
    access,
    gate,
    isKnownStream: (id) => directory.isKnown(id),
    recorded: new RecordedPlayback(recorder),
    ...(cluster && { playbackElsewhere: (id, isKnown) => cluster.playbackElsewhere(id, isKnown) }),
  });
  const httpMetrics = new HttpMetrics(deps.metrics);
  const slowReaders = new SlowReaders(DEFAULT_SLOW_READER_LIMITS, { ...deps, metrics: httpMetrics });
  const atPort = {
    first: createPlaybackListener(playback, { slowReaders }),
    plain: { handler: createPlainPlayback(playback), slowReaders },
    port: settings.ORIGIN_PORT,
    host: settings.ORIGIN_HOST,
    connectionsMax: settings.ORIGIN_CONNECTIONS_MAX,
    addressConnectionsMax: settings.ORIGIN_ADDRESS_CONNECTIONS_MAX,
    metrics: httpMetrics,
    isKeptWhileDraining: ({ url: path = '' }: NodeRequest) => path.startsWith('/ingest/'),
    ...(tls === undefined ? {} : { tls }),
  };
  // Behind workers, only they come here: for what they share, and with what they do not answer themselves.
  const { first } = atPort;
  const atLoopback = { first, port: 0, host: '127.0.0.1', metrics: httpMetrics };
  const server = await listen(app.fetch, settings.ORIGIN_WORKERS > 0 ? atLoopback : atPort);
  started.add('http server', server, () => server.close(CLOSE_GRACE_MS));
  // Before the server: it answers the requests that are held, which the server would wait for.
  started.add('live window', live, () => live.close());
  // Before that: as long as parts come, everybody who waits gets a playlist that has advanced.
  const graceMs = settings.ORIGIN_DRAIN_S * 1_000;
  if (graceMs > 0)
    started.add('connections', server, () => server.drain({ graceMs, lingerMs: DRAIN_LINGER_MS }));
  if (settings.ORIGIN_WORKERS > 0) {
    workers = await ServingWorkers.start(settings, server.url, deps);
    started.add('serving workers', workers, (running) => running.close());
  }
  await cluster?.start();
  const { url, port } = workers ?? server;
  logger.info({ url }, 'origin is ready');

  let closing: Promise<void> | undefined;
  return {
    url,
    port,
    ensureStream: (stream) => ensureStream(settings, control, stream),
    close: () => {
      serving = false;
      if (closing === undefined) cluster?.drain();
      closing ??= started.close(logger);
      return closing;
    },
  };
}

/** Goes on with the streams that were live when this origin was stopped; those who published them may still do. */
async function restoreStreams(
  recorder: Recorder,
  live: LiveStreams,
  { database, sessions }: ControlPlane,
): Promise<void> {
  const restored = await recorder.start(database);
  const sessionIds = new Set(sessions.list().map(({ sessionId }) => sessionId));
  for (const stream of restored) {
    live.restore(stream);
    const { sessionId } = stream.state.writer;
    if (!sessionIds.has(sessionId)) live.sessionEnded(stream.streamId, sessionId, 'lost');
  }
}

/** The other origins; undefined when this one is alone. */
async function createCluster(
  settings: OriginSettings,
  deps: OriginDeps,
  live: LiveStreams,
  sessions: OriginClusterDeps['sessions'],
  started: DisposableStack,
): Promise<OriginCluster | undefined> {
  if (settings.ORIGIN_NODE_URL === '') return undefined;
  const bus = deps.bus ?? (await openBus(settings.REDIS_URL, deps));
  if (deps.bus === undefined) started.add('bus', bus, () => bus.close());
  const cluster = new OriginCluster(
    {
      ownUrl: settings.ORIGIN_NODE_URL,
      ingestToken: settings.INGEST_TOKEN,
      relayCacheBytesMax: settings.ORIGIN_RELAY_CACHE_MIB * MIB,
      relayWaitersMax: settings.LIVE_STREAM_WAITERS_MAX,
    },
    { ...deps, bus, live, sessions },
  );
  return started.add('cluster', cluster, () => cluster.close());
}

function createApp(
  settings: OriginSettings,
  deps: OriginDeps,
  live: LiveStreams,
  control: ControlPlane & {
    readonly tokens: PlaybackTokens;
    readonly cluster: OriginCluster | undefined;
    readonly gate: OverloadGate;
    readonly metricsText: () => Promise<string>;
    readonly recorder: Recorder;
  },
  isServing: () => boolean,
): Hono {
  const { logger } = deps;
  const { registry, sessions, directory, database, tokens, cluster, recorder } = control;
  const window = cluster?.window ?? live;
  const publicUrl = settings.ORIGIN_PUBLIC_URL;
  const ingestUrls = deps.ingestUrls ?? ((host: string) => settingsIngestUrls(settings, host));
  const app = new Hono();
  app.onError(toProblem(logger));
  app.notFound(notFound);
  app.use(shedOverload(control.gate));
  app.route(
    '/',
    createUploadRoutes(live, {
      ingestToken: settings.INGEST_TOKEN,
      ...(cluster && {
        holdersNote: (id) => cluster.holdersNote(id),
        isAdopting: (id) => cluster.isAdopting(id),
      }),
    }),
  );
  if (cluster !== undefined) app.route('/', cluster.routes);
  if (settings.ORIGIN_WORKERS > 0) {
    const elsewhere = cluster && {
      playbackElsewhere: (id: string, isKnown: boolean) => cluster.playbackElsewhere(id, isKnown),
    };
    const { INGEST_TOKEN: ingestToken } = settings;
    app.route('/', createWorkerRoutes({ ingestToken, live, directory, ...elsewhere }));
  }
  for (const path of ['/api/*', '/ingest/v1/sessions/*', '/ingest/v1/:streamId/end'])
    app.use(path, async (context, next) => {
      await next();
      context.header('x-content-type-options', 'nosniff');
      context.header('content-security-policy', "default-src 'none'; frame-ancestors 'none'");
      if (!context.res.headers.has('cache-control')) context.header('cache-control', 'no-store');
      if (settings.ORIGIN_TLS_CERT_FILE !== '')
        context.header('strict-transport-security', 'max-age=31536000');
    });
  app.route('/', createSessionRoutes(sessions, { ingestToken: settings.INGEST_TOKEN }));
  app.route(
    '/',
    createApi({
      adminToken: settings.ADMIN_TOKEN,
      requestsPerSecond: settings.ORIGIN_API_REQUESTS_PER_SECOND,
      clock: deps.clock,
      metrics: deps.metrics,
      registry: registry.streams,
      tenants: registry.tenants,
      apiKeys: registry.apiKeys,
      webhooks: control.webhooks.registry,
      catalog: recorder.catalog,
      tokens,
      sessions,
      directory,
      live: window,
      logger,
      ingestUrls,
      publicUrl,
    }),
  );
  const postgres = () =>
    database.isUp ? { ok: true, detail: 'answers' } : { ok: false, detail: 'does not answer' };
  const checks = () => ({
    postgres: postgres(),
    ...(cluster && { cluster: { ok: true, detail: cluster.describe() } }),
  });
  app.route('/', createHealthRoutes({ metricsText: control.metricsText, isServing, checks }));
  const mediaOrigins = [...(publicUrl === '' ? [] : [publicUrl]), ...settings.ORIGIN_PLAYER_MEDIA_ORIGINS];
  if (settings.ORIGIN_PLAYER)
    app.route(
      '/',
      createPlayerRoutes({
        logger,
        mediaOrigins,
        ...(deps.playerEdge === undefined ? {} : { edge: deps.playerEdge }),
      }),
    );
  return app;
}

function toProblem(logger: Logger): ReturnType<typeof onError> {
  const answer = onError((error, context) =>
    logger.error({ err: error, method: context.req.method, path: context.req.path }, 'request failed'),
  );
  return (error, context) => {
    if (!(error instanceof DatabaseUnavailableError)) return answer(error, context);
    logger.warn({ err: error, path: context.req.path }, 'request needs the database');
    return problemResponse(
      new ProblemError(
        503,
        error.code,
        'The database does not answer now; nothing was changed that a repeated request would not change.',
        { headers: { 'retry-after': String(RETRY_AFTER_S) } },
      ),
    );
  };
}

async function ensureStream(
  settings: OriginSettings,
  { registry, directory }: ControlPlane,
  { id, streamKey: given, ...wanted }: ReadyMadeStream,
): Promise<{ id: string; streamKey: string }> {
  const streamKey =
    given ??
    keepStreamKey(join(settings.DATA_DIR, 'stream-keys', id), () => registry.keys.generate().streamKey);
  const actor = { tenantId: DEFAULT_TENANT_ID, name: 'start', requestId: 'start' };
  const stream = await registry.streams.ensure(
    actor,
    id,
    { ...DEFAULT_STREAM_SETTINGS, ...wanted },
    streamKey,
  );
  directory.put({ ...stream, tenantId: actor.tenantId });
  return { id, streamKey };
}

function settingsIngestUrls(settings: OriginSettings, host: string): readonly string[] {
  return settings.RTMP_PUBLIC_URL.length > 0
    ? settings.RTMP_PUBLIC_URL
    : [`rtmp://${host}:${settings.RTMP_PORT}/app`];
}
