import type { Context } from 'hono';
import type { Logger } from '#runtime/log.ts';
import { DatabaseUnavailableError } from '#runtime/postgres/database-errors.ts';
import type { LiveWindow, PublishSessions } from '#origin/sessions/publish-sessions.ts';
import type { StreamDirectory } from '#origin/sessions/stream-directory.ts';
import type { StreamAndKey, StreamRegistry } from '#origin/registry/stream-registry.ts';
import { markReplay, type ApiRoutes } from '#origin/api/api-routes.ts';
import { pageOf, toCursor } from '#origin/api/list-query.ts';
import { STREAM_OPERATIONS } from '#origin/api/stream-operations.ts';
import { DEFAULT_STREAM_SETTINGS, refuseImpossibleGrid, settingsOf } from '#origin/api/stream-requests.ts';
import { streamIdOf } from '#origin/api/stream-id.ts';
import { describeStream } from '#origin/api/stream-status.ts';
import { toKeyView, toStreamView, type StreamAddresses, type StreamView } from '#origin/api/stream-view.ts';

export type StreamRoutesDeps = {
  readonly registry: StreamRegistry;
  readonly sessions: PublishSessions;
  readonly directory: StreamDirectory;
  readonly live: LiveWindow;
  readonly logger: Logger;
  /** RTMP URLs that a stream key is appended to, for a client that reaches this machine by the name `host`. */
  readonly ingestUrls: (host: string) => readonly string[];
  /** Scheme, host and port of playback URLs; '' takes those of the request. */
  readonly publicUrl: string;
};

/** The stream API. */
export function serveStreams(routes: ApiRoutes, deps: StreamRoutesDeps): void {
  const { registry, sessions, directory } = deps;
  const { create, list, get, update, delete: remove, rotateKey, endKey, stats } = STREAM_OPERATIONS;

  routes.serve(create, async (context, { actor, body, idempotencyOf }) => {
    const settings = { ...DEFAULT_STREAM_SETTINGS, ...settingsOf(body) };
    refuseImpossibleGrid(settings);
    const wanted = { id: body.id, settings, key: { chosen: body.streamKey } };
    const { result, replayed } = await registry.create(actor, wanted, idempotencyOf(wanted));
    directory.put({ ...result.stream, tenantId: actor.tenantId });
    context.header('location', `${create.path}/${result.stream.id}`);
    markReplay(context, replayed);
    return context.json(shown(context, result, deps), 201);
  });

  routes.serve(list, async (context, { tenantId, query: { limit, cursor } }) => {
    const found = await registry.list(tenantId, limit + 1, cursor);
    const { page, nextCursor } = pageOf(found, limit, toCursor);
    return context.json({ streams: page.map((stream) => view(context, { stream }, deps)), nextCursor });
  });

  routes.serve(get, async (context, { tenantId }) =>
    context.json(shown(context, await registry.get(tenantId, streamIdOf(context)), deps)),
  );

  routes.serve(update, async (context, { actor, body }) => {
    const id = streamIdOf(context);
    const { streamKey } = body;
    const key =
      streamKey === undefined ? undefined : { chosen: streamKey === 'rotate' ? undefined : streamKey };
    const result = await registry.update(actor, id, settingsOf(body), refuseImpossibleGrid, key);
    directory.put({ ...result.stream, tenantId: actor.tenantId });
    sessions.streamChanged(result.stream);
    if (key !== undefined) await endRevoked(id, deps);
    return context.json(shown(context, result, deps));
  });

  routes.serve(remove, async (context, { actor }) => {
    const id = streamIdOf(context);
    await registry.delete(actor, id);
    directory.delete(id);
    sessions.streamDeleted(id);
    return context.body(null, 204);
  });

  routes.serve(rotateKey, async (context, { actor, body, idempotencyOf }) => {
    const id = streamIdOf(context);
    const key = { chosen: body.streamKey, graceS: body.grace ?? 0, lifetimeS: body.expiresIn };
    const { result, replayed } = await registry.rotateKey(actor, id, key, idempotencyOf(key));
    if (!replayed) await endRevoked(id, deps);
    markReplay(context, replayed);
    return context.json(shown(context, result, deps), 201);
  });

  routes.serve(endKey, async (context, { actor }) => {
    const id = streamIdOf(context);
    await registry.endKey(actor, id, context.req.param('keyId') ?? '');
    await endRevoked(id, deps);
    return context.body(null, 204);
  });

  routes.serve(stats, async (context, { tenantId }) => {
    const { stream } = await registry.get(tenantId, streamIdOf(context));
    const { state, ...status } = describeStream(stream.id, deps);
    const live = deps.live.status(stream.id);
    const session = sessions.status(stream.id);
    return context.json({
      id: stream.id,
      status: state,
      ...status,
      session: session && {
        id: session.sessionId,
        startedAt: new Date(session.startedAtMs).toISOString(),
        remoteAddress: session.remoteAddress,
      },
      renditions: live?.renditions ?? [],
      lastMsn: live?.lastMsn ?? null,
      timelines: live?.timelines ?? 0,
      windowBytes: live?.windowBytes ?? 0,
    });
  });
}

function view(
  context: Context,
  { stream }: Pick<StreamAndKey, 'stream'>,
  deps: StreamRoutesDeps,
): StreamView {
  return toStreamView(stream, describeStream(stream.id, deps), addressesOf(context, deps));
}

/** A single stream: with what is known of its keys and, only when one was just made, that key. */
function shown(context: Context, result: StreamAndKey, deps: StreamRoutesDeps): object {
  const { streamKey } = result;
  return {
    ...view(context, result, deps),
    keys: result.keys.map(toKeyView),
    ...(streamKey === undefined
      ? {}
      : {
          streamKey,
          publishUrls: addressesOf(context, deps).ingestUrls.map((url) => `${url}/${streamKey}`),
        }),
  };
}

function addressesOf(context: Context, deps: StreamRoutesDeps): StreamAddresses {
  const { origin, hostname } = new URL(context.req.url);
  return {
    ingestUrls: deps.ingestUrls(hostname),
    playbackBase: deps.publicUrl === '' ? origin : deps.publicUrl,
  };
}

/** The key has changed already; what fails here, the check that always goes on will do within seconds. */
async function endRevoked(streamId: string, deps: StreamRoutesDeps): Promise<void> {
  try {
    await deps.sessions.keysChanged(streamId);
  } catch (error) {
    if (!(error instanceof DatabaseUnavailableError)) throw error;
    deps.logger.warn({ err: error, streamId }, 'the session of a changed key is ended later');
  }
}
