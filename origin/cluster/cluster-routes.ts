import { Hono, type Context } from 'hono';
import { z } from 'zod';
import {
  DeliveryDirectiveError,
  parseDeliveryDirectives,
  QUERY_CHARS_MAX,
} from '#protocol/hls/delivery-directives.ts';
import { MEDIA_PLAYLIST, MULTIVARIANT_PLAYLIST, parseMediaFile } from '#protocol/hls/media-uris.ts';
import { END_REASONS, RENDITION_ID_PATTERN, STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import { requireBearer } from '#runtime/http/bearer-auth.ts';
import { readJson, validate } from '#runtime/http/json-body.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { LiveStreams } from '#origin/live/live-streams.ts';
import type { MediaAnswer, Playback, PlaylistAnswer } from '#origin/live/live-playback.ts';
import type { NodeState } from '#origin/cluster/node-state.ts';
import { RELAY_HEADERS, RELAY_PATH } from '#origin/cluster/relay.ts';
import { FollowOrder, LeadOrder, type StreamTimelines } from '#origin/cluster/stream-timelines.ts';

export type ClusterRoutesDeps = {
  readonly ingestToken: string;
  readonly live: LiveStreams;
  readonly timelines: StreamTimelines;
  readonly describe: () => NodeState;
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
    if (order.input.streamId !== streamIdOf(context))
      throw new ProblemError(400, 'validation_failed', 'The body speaks of another stream than the path.');
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

  app.get(`${RELAY_PATH}/:streamId/:file`, async (context) => {
    const playback = playbackOf(live, streamIdOf(context));
    if (context.req.param('file') !== MULTIVARIANT_PLAYLIST) throw noSuchFile();
    return toPlaylist(await playback.multivariant(context.req.raw));
  });
  app.get(`${RELAY_PATH}/:streamId/:renditionId/:file`, (context) =>
    answerFile(context, playbackOf(live, streamIdOf(context))),
  );
  return app;
}

function playbackOf(live: LiveStreams, streamId: string): Playback {
  const stream = live.get(streamId);
  if (stream !== undefined) return stream.playback;
  throw new ProblemError(404, 'stream_offline', 'Nobody publishes this stream now.', {
    headers: { 'cache-control': 'public, max-age=1' },
  });
}

async function answerFile(context: Context, playback: Playback): Promise<Response> {
  const { renditionId = '', file = '' } = context.req.param();
  if (!RENDITION_ID_PATTERN.test(renditionId)) throw noSuchFile();
  const client = context.req.raw;
  if (file === MEDIA_PLAYLIST)
    return toPlaylist(await playback.playlist(renditionId, directivesOf(context), client));
  const media = parseMediaFile(file);
  switch (media?.kind) {
    case 'segment':
      return toMedia(await playback.segmentOrRecorded(renditionId, media.msn, client));
    case 'part':
      return toMedia(await playback.part(renditionId, media.msn, media.part, client));
    case 'init':
      return toMedia(await playback.init(renditionId, media.timeline, client));
    case undefined:
      throw noSuchFile();
  }
}

function directivesOf({ req }: Context): ReturnType<typeof parseDeliveryDirectives> {
  const start = req.url.indexOf('?');
  try {
    return parseDeliveryDirectives(start === -1 ? '' : req.url.slice(start + 1, start + 1 + QUERY_CHARS_MAX));
  } catch (error) {
    if (!(error instanceof DeliveryDirectiveError)) throw error;
    throw new ProblemError(400, error.code, error.message, { cause: error });
  }
}

function toPlaylist({ rendered, freshness, targetDurationS }: PlaylistAnswer): Response {
  return new Response(rendered.identity, {
    headers: {
      'content-length': String(rendered.identity.length),
      [RELAY_HEADERS.freshness]: freshness,
      [RELAY_HEADERS.targetDuration]: String(targetDurationS),
    },
  });
}

function toMedia({ media, kind }: MediaAnswer): Response {
  return new Response(media.bytes, {
    headers: {
      'content-length': String(media.bytes.length),
      [RELAY_HEADERS.digest]: media.digest,
      [RELAY_HEADERS.kind]: kind,
    },
  });
}

function noSuchFile(): ProblemError {
  return new ProblemError(404, 'file_not_found', 'No file of a stream has such a name.');
}
