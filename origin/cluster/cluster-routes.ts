import { Hono, type Context } from 'hono';
import { z } from 'zod';
import { END_REASONS, STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import { requireBearer } from '#runtime/http/bearer-auth.ts';
import { readJson, validate } from '#runtime/http/json-body.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { LiveStreams } from '#origin/live/live-streams.ts';
import { AdoptOrder } from '#origin/cluster/holder-upkeep.ts';
import { encodeStreamImage } from '#origin/cluster/stream-image.ts';
import type { NodeState } from '#origin/cluster/node-state.ts';
import { RELAY_PATH } from '#origin/cluster/relay.ts';
import { createRelayRoutes } from '#origin/cluster/relay-routes.ts';
import { FollowOrder, LeadOrder, type StreamTimelines } from '#origin/cluster/stream-timelines.ts';

export type ClusterRoutesDeps = {
  readonly ingestToken: string;
  readonly live: LiveStreams;
  readonly timelines: StreamTimelines;
  readonly describe: () => NodeState;
  readonly adopt: (order: AdoptOrder) => void;
  /** Called when what this origin holds may have changed. */
  readonly onChange: () => void;
};

const StreamPath = z.object({ streamId: z.string().regex(STREAM_ID_PATTERN) });
const SessionEnd = z.object({ sessionId: z.uuid(), reason: z.enum(END_REASONS) });
const STREAM = '/internal/v1/streams/:streamId';

/**
 * What origins ask of one another. Nothing in here asks a third one: a relay that is sent to an origin without the
 * stream is refused, so requests cannot go in circles.
 */
export function createClusterRoutes(deps: ClusterRoutesDeps): Hono {
  const { live, timelines, onChange } = deps;
  const app = new Hono();
  app.use('/internal/v1/*', requireBearer(deps.ingestToken, 'ingest'));
  const streamIdOf = (context: Context): string => validate(StreamPath, context.req.param()).streamId;
  const ofStream = (context: Context, order: { readonly input: { readonly streamId: string } }): void => {
    if (order.input.streamId !== streamIdOf(context)) throw otherStream();
  };

  app.get('/internal/v1/node', (context) => context.json(deps.describe()));

  app.get(`${STREAM}/last-msn`, (context) =>
    context.json({ lastMsn: live.status(streamIdOf(context))?.lastMsn ?? 0 }),
  );
  app.post(`${STREAM}/lead`, async (context) => {
    const order = await readJson(context, LeadOrder);
    ofStream(context, order);
    const grant = await timelines.lead(order);
    onChange();
    return context.json(grant, 201);
  });
  app.post(`${STREAM}/follow`, async (context) => {
    const order = await readJson(context, FollowOrder);
    ofStream(context, order);
    timelines.follow(order);
    onChange();
    return context.json({}, 201);
  });
  app.post(`${STREAM}/adopt`, async (context) => {
    const order = await readJson(context, AdoptOrder);
    if (order.holders.streamId !== streamIdOf(context)) throw otherStream();
    deps.adopt(order);
    return context.json({}, 202);
  });
  app.get(`${STREAM}/window`, (context) => {
    const image = live.get(streamIdOf(context))?.image;
    if (image === undefined) throw streamOffline();
    return context.body(encodeStreamImage(image));
  });
  app.post(`${STREAM}/session-ended`, async (context) => {
    const { sessionId, reason } = await readJson(context, SessionEnd);
    live.sessionEnded(streamIdOf(context), sessionId, reason);
    return context.json({});
  });
  app.post(`${STREAM}/removed`, (context) => {
    live.remove(streamIdOf(context));
    onChange();
    return context.json({});
  });

  app.route(
    '/',
    createRelayRoutes(RELAY_PATH, (streamId) => live.get(streamId)?.playback),
  );
  return app;
}

function streamOffline(): ProblemError {
  return new ProblemError(404, 'stream_offline', 'Nobody publishes this stream now.', {
    headers: { 'cache-control': 'public, max-age=1' },
  });
}

function otherStream(): ProblemError {
  return new ProblemError(400, 'validation_failed', 'The body speaks of another stream than the path.');
}
