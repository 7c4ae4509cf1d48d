import { DVR_PLAYLIST, RECORDINGS_FOLDER } from '#protocol/hls/media-uris.ts';
import { STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import type { Clock } from '#runtime/clock.ts';
import { HttpMetrics } from '#runtime/http/http-metrics.ts';
import type { PlainHandler } from '#runtime/http/plain-connections.ts';
import { listen, type FirstListener } from '#runtime/http/server.ts';
import { DEFAULT_SLOW_READER_LIMITS, SlowReaders } from '#runtime/http/slow-readers.ts';
import { readTlsFiles } from '#runtime/http/tls-files.ts';
import type { Logger } from '#runtime/log.ts';
import type { Disposable } from '#runtime/lifecycle.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { PlaybackAccess } from '#origin/access/playback-access.ts';
import { PeerClient } from '#origin/cluster/peer-client.ts';
import { Relay } from '#origin/cluster/relay.ts';
import { OverloadGate, overloadLimits } from '#origin/http/overload-gate.ts';
import { createPlainPlayback, createPlaybackListener } from '#origin/http/playback-listener.ts';
import { createPlaybackRoutes } from '#origin/http/playback-routes.ts';
import { splitTarget, type PlaybackTarget } from '#origin/http/playback-target.ts';
import { LiveStreams } from '#origin/live/live-streams.ts';
import { accessKeys, liveSettings, pullTokens } from '#origin/derived-settings.ts';
import type { OriginSettings } from '#origin/settings.ts';
import { MainProxy } from '#origin/workers/main-proxy.ts';
import { StreamMirror } from '#origin/workers/stream-mirror.ts';
import { WORKER_RELAY_PATH } from '#origin/workers/worker-routes.ts';

export type ServingWorkerDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
};

const MIB = 1024 * 1024;
/** Longest that answers under way get when the worker stops, and when those that are held by then are answered 503. */
const CLOSE_GRACE_MS = 2_000;
const HELD_GRACE_MS = 1_500;

/**
 * Serves playback from what it pulls from the main process, once per object, with waiters of its own; everything else goes
 * through to the main process.
 *
 * @param workers how many share the limits on connections
 */
export async function startServingWorker(
  settings: OriginSettings,
  { mainUrl, workers }: { readonly mainUrl: string; readonly workers: number },
  deps: ServingWorkerDeps,
): Promise<Disposable & { readonly port: number }> {
  const { clock, logger, metrics } = deps;
  const share = (limit: number): number => Math.ceil(limit / workers);
  const tls = await readTlsFiles(
    { name: 'ORIGIN_TLS_CERT_FILE', path: settings.ORIGIN_TLS_CERT_FILE },
    { name: 'ORIGIN_TLS_KEY_FILE', path: settings.ORIGIN_TLS_KEY_FILE },
  );
  const peers = new PeerClient({ ingestToken: settings.INGEST_TOKEN }, { clock });
  const mirror = new StreamMirror(mainUrl, { peers, clock });
  // It holds no stream of its own: it counts and ends those who wait.
  const live = new LiveStreams(liveSettings(settings), deps);
  const relay = new Relay(
    {
      cacheBytesMax: settings.ORIGIN_RELAY_CACHE_MIB * MIB,
      waitersMax: settings.LIVE_STREAM_WAITERS_MAX,
      path: WORKER_RELAY_PATH,
      // The main process is next door, and nothing may be older here than there.
      plainKeptMs: 0,
      refusalKeptMs: 0,
    },
    { clock, metrics, peers, holds: live.holds, sourcesOf: () => [mainUrl] },
  );
  const gate = new OverloadGate(overloadLimits(settings.ORIGIN_OVERLOAD_DELAY_MS), { clock, metrics });
  const access = new PlaybackAccess(await accessKeys(settings), pullTokens(settings), {
    clock,
    metrics,
    // What is not known is not for everybody.
    accessOf: (streamId) => mirror.known(streamId)?.access ?? 'token',
  });
  const routes = createPlaybackRoutes(live, {
    logger,
    access,
    gate,
    playbackElsewhere: (streamId) => relay.playback(streamId),
  });
  const httpMetrics = new HttpMetrics(metrics);
  const slowReaders = new SlowReaders(DEFAULT_SLOW_READER_LIMITS, { clock, metrics: httpMetrics });
  const playback = createPlaybackListener(routes, { slowReaders });
  const plainPlayback = createPlainPlayback(routes);
  const proxy = new MainProxy(mainUrl);
  const first: FirstListener = (incoming, outgoing) => {
    const target = splitTarget(incoming.url ?? '');
    if (target === undefined || !isForWorker(target)) {
      proxy.pass(incoming, outgoing);
      return true;
    }
    const { streamId } = target;
    const answer = (): void => {
      if (mirror.known(streamId)?.isLive !== true || !playback(incoming, outgoing))
        proxy.pass(incoming, outgoing);
    };
    // A main process that does not answer now is for the proxy to speak of.
    if (mirror.known(streamId) === undefined) void mirror.learn(streamId).then(answer, answer);
    else answer();
    return true;
  };
  /** Only what can be answered without asking: the rest goes the way of everything unusual. */
  const plain: PlainHandler = (request, client) => {
    const target = splitTarget(request.url);
    const isOurs = target !== undefined && isForWorker(target);
    return isOurs && mirror.known(target.streamId)?.isLive === true
      ? plainPlayback(request, client)
      : undefined;
  };
  const server = await listen(() => new Response(null, { status: 404 }), {
    first,
    plain: { handler: plain, slowReaders },
    port: settings.ORIGIN_PORT,
    host: settings.ORIGIN_HOST,
    connectionsMax: share(settings.ORIGIN_CONNECTIONS_MAX),
    addressConnectionsMax: share(settings.ORIGIN_ADDRESS_CONNECTIONS_MAX),
    metrics: httpMetrics,
    ...(tls === undefined ? {} : { tls }),
  });
  return {
    port: server.port,
    close: async () => {
      const timer = clock.after(HELD_GRACE_MS, () => void live.close());
      await server.close(CLOSE_GRACE_MS);
      timer.cancel();
      gate.close();
      proxy.close();
      await live.close();
      await peers.close();
    },
  };
}

/** Whether a worker answers: what is live. Recordings, and streams that are not live, are the main process's. */
function isForWorker(target: PlaybackTarget): boolean {
  const { streamId, renditionId, file } = target;
  return STREAM_ID_PATTERN.test(streamId) && file !== DVR_PLAYLIST && renditionId !== RECORDINGS_FOLDER;
}
