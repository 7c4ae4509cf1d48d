import { Hono } from 'hono';
import { requireBearer } from '#runtime/http/bearer-auth.ts';
import { createRelayRoutes } from '#origin/cluster/relay-routes.ts';
import type { Playback } from '#origin/live/live-playback.ts';
import type { LiveStreams } from '#origin/live/live-streams.ts';
import type { StreamDirectory } from '#origin/sessions/stream-directory.ts';

export const WORKER_RELAY_PATH = '/internal/v1/workers/live';
export const WORKER_STREAM_PATH = '/internal/v1/workers/streams';

export type WorkerRoutesDeps = {
  readonly ingestToken: string;
  readonly live: LiveStreams;
  readonly directory: Pick<StreamDirectory, 'isKnown' | 'accessOf'>;
  /** The reading side of a stream that another origin holds. */
  readonly playbackElsewhere?: (streamId: string, isKnown: boolean) => Playback | undefined;
};

/** What the serving workers of this process ask it for. */
export function createWorkerRoutes({ ingestToken, live, directory, ...deps }: WorkerRoutesDeps): Hono {
  const readable = (streamId: string): Playback | undefined =>
    deps.playbackElsewhere?.(streamId, directory.isKnown(streamId)) ?? live.get(streamId)?.playback;
  const app = new Hono();
  app.use('/internal/v1/workers/*', requireBearer(ingestToken, 'ingest'));
  app.get(`${WORKER_STREAM_PATH}/:streamId`, (context) => {
    const streamId = context.req.param('streamId');
    return context.json({
      isKnown: directory.isKnown(streamId),
      isLive: readable(streamId) !== undefined,
      access: directory.accessOf(streamId),
    });
  });
  app.route('/', createRelayRoutes(WORKER_RELAY_PATH, readable));
  return app;
}
