import { Hono, type Context } from 'hono';
import {
  DeliveryDirectiveError,
  parseDeliveryDirectives,
  QUERY_CHARS_MAX,
} from '#protocol/hls/delivery-directives.ts';
import { MEDIA_PLAYLIST, MULTIVARIANT_PLAYLIST, parseMediaFile } from '#protocol/hls/media-uris.ts';
import { RENDITION_ID_PATTERN, STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { MediaAnswer, Playback, PlaylistAnswer } from '#origin/live/live-playback.ts';
import { RELAY_HEADERS } from '#origin/cluster/relay.ts';

/**
 * What a {@link Relay} asks for below `path`: playlists and media as they are, with what it needs to answer as this origin
 * would. Whoever mounts it asks for a token first.
 *
 * @param playbackOf the reading side of a stream; undefined when it cannot be read here. May wait.
 */
export function createRelayRoutes(
  path: string,
  playbackOf: (streamId: string, context: Context) => Playback | undefined | Promise<Playback | undefined>,
): Hono {
  const app = new Hono();
  const readable = async (context: Context): Promise<Playback> => {
    const streamId = context.req.param('streamId') ?? '';
    if (!STREAM_ID_PATTERN.test(streamId)) throw noSuchFile();
    const playback = await playbackOf(streamId, context);
    if (playback !== undefined) return playback;
    throw new ProblemError(404, 'stream_offline', 'Nobody publishes this stream now.', {
      headers: { 'cache-control': 'public, max-age=1' },
    });
  };
  app.get(`${path}/:streamId/:file`, async (context) => {
    if (context.req.param('file') !== MULTIVARIANT_PLAYLIST) throw noSuchFile();
    return toPlaylist(await (await readable(context)).multivariant(context.req.raw));
  });
  app.get(`${path}/:streamId/:renditionId/:file`, async (context) =>
    answerFile(context, await readable(context)),
  );
  return app;
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
