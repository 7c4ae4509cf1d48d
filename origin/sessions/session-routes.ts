import { Hono } from 'hono';
import { z } from 'zod';
import {
  EndRequest,
  Heartbeat,
  PublishRequest,
  STREAM_ID_PATTERN,
  TimelineRequest,
} from '#protocol/ingest/publish-session.ts';
import { requireBearer } from '#runtime/http/bearer-auth.ts';
import { readJson, validate } from '#runtime/http/json-body.ts';
import { allowOnly } from '#runtime/http/methods.ts';
import type { PublishSessions } from '#origin/sessions/publish-sessions.ts';

const SessionPath = z.object({ sessionId: z.uuid() });
const StreamPath = z.object({ streamId: z.string().regex(STREAM_ID_PATTERN) });

/** The calls of `protocol/ingest/publish-session.ts`, for transcoders that have the ingest token. */
export function createSessionRoutes(sessions: PublishSessions, deps: { readonly ingestToken: string }): Hono {
  const app = new Hono();
  const authorised = requireBearer(deps.ingestToken, 'ingest');

  app.post('/ingest/v1/sessions', authorised, async (context) =>
    context.json(await sessions.authorise(await readJson(context, PublishRequest)), 201),
  );
  allowOnly(app, '/ingest/v1/sessions', ['POST']);

  app.post('/ingest/v1/sessions/:sessionId/heartbeat', authorised, async (context) => {
    const { sessionId } = validate(SessionPath, context.req.param());
    const heartbeat = await readJson(context, Heartbeat, { optional: true });
    await sessions.takeUp(sessionId);
    sessions.heartbeat(sessionId, heartbeat);
    return context.json({});
  });
  allowOnly(app, '/ingest/v1/sessions/:sessionId/heartbeat', ['POST']);

  app.post('/ingest/v1/sessions/:sessionId/timelines', authorised, async (context) => {
    const { sessionId } = validate(SessionPath, context.req.param());
    const request = await readJson(context, TimelineRequest);
    await sessions.takeUp(sessionId);
    return context.json(await sessions.placeTimeline(sessionId, request), 201);
  });
  allowOnly(app, '/ingest/v1/sessions/:sessionId/timelines', ['POST']);

  app.post('/ingest/v1/:streamId/end', authorised, async (context) => {
    const { streamId } = validate(StreamPath, context.req.param());
    const request = await readJson(context, EndRequest);
    await sessions.takeUp(request.sessionId);
    sessions.end(streamId, request);
    return context.json({});
  });
  allowOnly(app, '/ingest/v1/:streamId/end', ['POST']);
  return app;
}
