import { createLogger } from '#runtime/log.ts';
import { listen, type HttpListenOptions, type RunningHttpServer } from '#runtime/http/server.ts';
import { createPlainPlayback, createPlaybackListener } from '#origin/http/playback-listener.ts';
import { createPlaybackRoutes, type PlaybackRoutesDeps } from '#origin/http/playback-routes.ts';
import type { LiveStreams } from '#origin/live/live-streams.ts';

/** Serves the playback routes alone, on any free port; everything else is answered 404. */
export function servePlayback(
  streams: LiveStreams,
  deps: Partial<PlaybackRoutesDeps> = {},
  options: Partial<HttpListenOptions> = {},
): Promise<RunningHttpServer> {
  const routes = createPlaybackRoutes(streams, { logger: createLogger('test', 'silent'), ...deps });
  return listen(() => new Response(null, { status: 404 }), {
    port: 0,
    host: '127.0.0.1',
    first: createPlaybackListener(routes),
    plain: { handler: createPlainPlayback(routes) },
    ...options,
  });
}
