import { Hono, type Context } from 'hono';
import {
  DeliveryDirectiveError,
  QUERY_CHARS_MAX,
  parseDeliveryDirectives,
} from '#protocol/hls/delivery-directives.ts';
import { MEDIA_PLAYLIST, MULTIVARIANT_PLAYLIST, parseMediaFile } from '#protocol/hls/media-uris.ts';
import { RENDITION_ID_PATTERN, STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import { ProblemError, notFound, onError, problemResponse } from '#runtime/http/problem.ts';
import type { Logger } from '#runtime/log.ts';
import type { Client } from '#origin/live/held-requests.ts';
import type { LivePlayback } from '#origin/live/live-playback.ts';
import type { LiveStreams } from '#origin/live/live-streams.ts';
import {
  CORS_HEADERS,
  answerMedia,
  answerPlaylist,
  type Answer,
  type AnswerConditions,
} from '#origin/http/playback-answers.ts';

export type PlaybackRoutesDeps = {
  readonly logger: Logger;
  /** Whether a stream that is not live exists at all; asked on every such request, so it must not wait. */
  readonly isKnownStream?: (streamId: string) => boolean;
  /** Whether a broadcaster has connected whose media are not here yet; such requests are held. Must not wait either. */
  readonly isStarting?: (streamId: string) => boolean;
};

const METHODS = 'GET, HEAD, OPTIONS';

/** The URL of a request, checked. */
type PlaybackRequest = {
  readonly context: Context;
  readonly playback: LivePlayback;
  readonly client: Client;
};

/**
 * What players and CDNs ask for: `GET`, `HEAD`, `OPTIONS` of `/live/{id}/master.m3u8`, `/{rendition}/index.m3u8`,
 * `/{rendition}/{msn}.m4s`, `/{rendition}/{msn}.{part}.m4s` and `/{rendition}/init-{n}.mp4`. Requests for what is about
 * to come are held.
 */
export function createPlaybackRoutes(streams: LiveStreams, deps: PlaybackRoutesDeps): Hono {
  const app = new Hono();
  const at = (path: string, answer: (request: PlaybackRequest) => Answer | Promise<Answer>): void => {
    app.all(path, async (context) => {
      try {
        const refused = refuseMethod(context);
        if (refused !== undefined) return refused;
        const playback = await playbackOf(context, streams, deps);
        return toResponse(await answer({ context, playback, client: context.req.raw }));
      } catch (error) {
        return problemOf(error);
      }
    });
  };

  at(`/live/:streamId/${MULTIVARIANT_PLAYLIST}`, async ({ context, playback, client }) =>
    answerPlaylist(await playback.multivariant(client), conditionsOf(context)),
  );
  at(`/live/:streamId/:renditionId/${MEDIA_PLAYLIST}`, async ({ context, playback, client }) => {
    const directives = parseDeliveryDirectives(queryOf(context));
    return answerPlaylist(
      await playback.playlist(renditionIdOf(context), directives, client),
      conditionsOf(context),
    );
  });
  at('/live/:streamId/:renditionId/:file', async ({ context, playback, client }) => {
    const renditionId = renditionIdOf(context);
    const file = parseMediaFile(context.req.param('file') ?? '');
    switch (file?.kind) {
      case 'segment':
        return answerMedia(playback.segment(renditionId, file.msn), conditionsOf(context));
      case 'part':
        return answerMedia(
          await playback.part(renditionId, file.msn, file.part, client),
          conditionsOf(context),
        );
      case 'init':
        return answerMedia(await playback.init(renditionId, file.timeline, client), conditionsOf(context));
      case undefined:
        throw new ProblemError(404, 'file_not_found', 'No file of a rendition has such a name.');
    }
  });

  app.notFound(notFound);
  app.onError(onError((error) => deps.logger.error({ err: error }, 'playback request failed')));
  return app;
}

function refuseMethod(context: Context): Response | undefined {
  const { method } = context.req;
  if (method === 'GET' || method === 'HEAD') return undefined;
  if (method === 'OPTIONS')
    return new Response(null, {
      status: 204,
      headers: {
        ...CORS_HEADERS,
        allow: METHODS,
        'access-control-allow-methods': METHODS,
        'access-control-allow-headers': '*',
        'access-control-max-age': '86400',
      },
    });
  throw new ProblemError(405, 'method_not_allowed', `Use one of ${METHODS}.`, {
    headers: { allow: METHODS },
  });
}

async function playbackOf(
  context: Context,
  streams: LiveStreams,
  deps: PlaybackRoutesDeps,
): Promise<LivePlayback> {
  const streamId = context.req.param('streamId') ?? '';
  if (!STREAM_ID_PATTERN.test(streamId))
    throw new ProblemError(400, 'stream_id_invalid', 'A stream id has 1 to 64 letters, digits, "_" and "-".');
  if (queryOf(context).length > QUERY_CHARS_MAX)
    throw new ProblemError(400, 'query_too_long', `The query is longer than ${QUERY_CHARS_MAX} characters.`);
  const stream = streams.get(streamId);
  if (stream !== undefined) return stream.playback;
  if (deps.isStarting?.(streamId) === true)
    return (await streams.arrival(streamId, context.req.raw)).playback;
  const isKnown = deps.isKnownStream?.(streamId) ?? false;
  throw new ProblemError(
    404,
    isKnown ? 'stream_offline' : 'stream_not_found',
    isKnown ? 'Nobody publishes this stream now.' : 'There is no such stream here.',
    { headers: { 'cache-control': 'public, max-age=1' } },
  );
}

function renditionIdOf(context: Context): string {
  const renditionId = context.req.param('renditionId') ?? '';
  if (!RENDITION_ID_PATTERN.test(renditionId))
    throw new ProblemError(
      400,
      'rendition_id_invalid',
      'A rendition id has 1 to 32 small letters, digits, "_" and "-".',
    );
  return renditionId;
}

function queryOf(context: Context): string {
  const { url } = context.req;
  const start = url.indexOf('?');
  return start === -1 ? '' : url.slice(start + 1);
}

function conditionsOf({ req }: Context): AnswerConditions {
  return {
    acceptEncoding: req.header('accept-encoding'),
    ifNoneMatch: req.header('if-none-match'),
    range: req.header('range'),
    ifRange: req.header('if-range'),
  };
}

function toResponse({ status, headers, body }: Answer): Response {
  return new Response(body, { status, headers });
}

function problemOf(error: unknown): Response {
  const problem =
    error instanceof DeliveryDirectiveError
      ? new ProblemError(400, error.code, error.message, { cause: error })
      : error;
  if (!(problem instanceof ProblemError)) throw problem;
  const response = problemResponse(problem);
  for (const [name, value] of Object.entries(CORS_HEADERS)) response.headers.set(name, value);
  return response;
}
