import { createHash, randomUUID } from 'node:crypto';
import { Hono, type Context } from 'hono';
import { STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import { requireBearer } from '#runtime/http/bearer-auth.ts';
import { readJson, validate } from '#runtime/http/json-body.ts';
import { allowOnly } from '#runtime/http/methods.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Logger } from '#runtime/log.ts';
import { DatabaseUnavailableError } from '#runtime/postgres/database-errors.ts';
import type { LiveWindow, PublishSessions } from '#origin/sessions/publish-sessions.ts';
import type { StreamDirectory } from '#origin/sessions/stream-directory.ts';
import type { Idempotency } from '#origin/registry/idempotency-table.ts';
import type { Actor } from '#origin/registry/stream-record.ts';
import type { StreamAndKey, StreamRegistry } from '#origin/registry/stream-registry.ts';
import {
  CreateStream,
  DEFAULT_STREAM_SETTINGS,
  ListQuery,
  refuseImpossibleGrid,
  RotateKey,
  settingsOf,
  toCursor,
  UpdateStream,
} from '#origin/api/stream-requests.ts';
import { describeStream } from '#origin/api/stream-status.ts';
import { toKeyView, toStreamView, type StreamAddresses, type StreamView } from '#origin/api/stream-view.ts';

export type StreamRoutesDeps = {
  readonly adminToken: string;
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

/** The admin token stands for the one tenant that there is. */
const TENANT_ID = 'default';
const STREAMS = '/api/v1/streams';
const STREAM = `${STREAMS}/:id`;

/** The stream API, for holders of the admin token. */
export function createStreamRoutes(deps: StreamRoutesDeps): Hono {
  const { registry, sessions, directory } = deps;
  const app = new Hono();
  app.use('/api/v1/*', requireBearer(deps.adminToken, 'livehls'));

  app.post(STREAMS, async (context) => {
    const request = await readJson(context, CreateStream, { optional: true });
    const settings = { ...DEFAULT_STREAM_SETTINGS, ...settingsOf(request) };
    refuseImpossibleGrid(settings);
    const wanted = { id: request.id, settings, key: { chosen: request.streamKey } };
    const { result, replayed } = await registry.create(
      actorOf(context),
      wanted,
      idempotencyOf(context, wanted),
    );
    directory.put(result.stream);
    context.header('location', `${STREAMS}/${result.stream.id}`);
    markReplay(context, replayed);
    return context.json(shown(context, result, deps), 201);
  });

  app.get(STREAMS, async (context) => {
    const { limit, cursor } = validate(ListQuery, context.req.query());
    const found = await registry.list(TENANT_ID, limit + 1, cursor);
    const page = found.slice(0, limit);
    const last = page.at(-1);
    return context.json({
      streams: page.map((stream) => view(context, { stream }, deps)),
      nextCursor: found.length > limit && last !== undefined ? toCursor(last) : null,
    });
  });
  allowOnly(app, STREAMS, ['GET', 'POST']);

  app.get(STREAM, async (context) =>
    context.json(shown(context, await registry.get(TENANT_ID, idOf(context)), deps)),
  );

  app.patch(STREAM, async (context) => {
    const id = idOf(context);
    const request = await readJson(context, UpdateStream);
    const { streamKey } = request;
    const key =
      streamKey === undefined ? undefined : { chosen: streamKey === 'rotate' ? undefined : streamKey };
    const result = await registry.update(
      actorOf(context),
      id,
      settingsOf(request),
      refuseImpossibleGrid,
      key,
    );
    directory.put(result.stream);
    sessions.streamChanged(result.stream);
    if (key !== undefined) await endRevoked(id, deps);
    return context.json(shown(context, result, deps));
  });

  app.delete(STREAM, async (context) => {
    const id = idOf(context);
    await registry.delete(actorOf(context), id);
    directory.delete(id);
    sessions.streamDeleted(id);
    return context.body(null, 204);
  });
  allowOnly(app, STREAM, ['GET', 'PATCH', 'DELETE']);

  app.post(`${STREAM}/keys`, async (context) => {
    const id = idOf(context);
    const { streamKey, grace } = await readJson(context, RotateKey, { optional: true });
    const key = { chosen: streamKey, graceS: grace ?? 0 };
    const idempotency = idempotencyOf(context, key);
    const { result, replayed } = await registry.rotateKey(actorOf(context), id, key, idempotency);
    if (!replayed) await endRevoked(id, deps);
    markReplay(context, replayed);
    return context.json(shown(context, result, deps), 201);
  });
  allowOnly(app, `${STREAM}/keys`, ['POST']);

  app.get(`${STREAM}/stats`, async (context) => {
    const { stream } = await registry.get(TENANT_ID, idOf(context));
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
  allowOnly(app, `${STREAM}/stats`, ['GET']);
  return app;
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

function idOf(context: Context): string {
  const id = context.req.param('id') ?? '';
  if (STREAM_ID_PATTERN.test(id)) return id;
  throw new ProblemError(404, 'stream_not_found', 'There is no such stream.');
}

/** A request is known by the id that it brings, or that it is given. */
function actorOf(context: Context): Actor {
  const brought = context.req.header('x-request-id') ?? '';
  const requestId = /^[\w.-]{1,64}$/.test(brought) ? brought : randomUUID();
  context.header('x-request-id', requestId);
  return { tenantId: TENANT_ID, name: 'admin-token', requestId };
}

/** @spec draft-ietf-httpapi-idempotency-key-header-07 §2 */
function idempotencyOf(context: Context, request: object): Idempotency | undefined {
  const key = context.req.header('idempotency-key')?.replace(/^"(.*)"$/, '$1');
  if (key === undefined) return undefined;
  if (!/^[\x21-\x7e]{1,255}$/.test(key))
    throw new ProblemError(400, 'validation_failed', 'The Idempotency-Key is not acceptable.', {
      fields: [{ field: 'Idempotency-Key', message: 'expected 1 to 255 printable ASCII characters' }],
    });
  const text = JSON.stringify([context.req.method, context.req.path, request]);
  return { key, fingerprint: createHash('sha256').update(text).digest() };
}

function markReplay(context: Context, replayed: boolean): void {
  if (replayed) context.header('idempotency-replayed', 'true');
}
