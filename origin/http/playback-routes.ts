import { ACCESS_HEADER } from '#protocol/access/access-header.ts';
import {
  DeliveryDirectiveError,
  QUERY_CHARS_MAX,
  parseDeliveryDirectives,
} from '#protocol/hls/delivery-directives.ts';
import { MEDIA_PLAYLIST, MULTIVARIANT_PLAYLIST, parseMediaFile } from '#protocol/hls/media-uris.ts';
import { RENDITION_ID_PATTERN, STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Logger } from '#runtime/log.ts';
import type { PlaybackAccess } from '#origin/access/playback-access.ts';
import { ClientGoneError, type Client } from '#origin/live/held-requests.ts';
import type { Playback } from '#origin/live/live-playback.ts';
import type { LiveStreams } from '#origin/live/live-streams.ts';
import type { OverloadGate } from '#origin/http/overload-gate.ts';
import {
  CORS_HEADERS,
  answerProblem,
  type Answer,
  type AnswerConditions,
} from '#origin/http/playback-answers.ts';
import { PreparedAnswers } from '#origin/http/prepared-answers.ts';
import type { PlaybackTarget } from '#origin/http/playback-target.ts';

export type PlaybackRoutesDeps = {
  readonly logger: Logger;
  /** Whether a stream that is not live exists at all; asked on every such request, so it must not wait. */
  readonly isKnownStream?: (streamId: string) => boolean;
  /**
   * The reading side of a stream that other origins hold without this one; undefined when none can have it. Must not wait.
   *
   * @param isKnown whether the stream exists, as far as {@link isKnownStream} knows
   */
  readonly playbackElsewhere?: (streamId: string, isKnown: boolean) => Playback | undefined;
  /** Whether a broadcaster has connected whose media are not here yet; such requests are held. Must not wait either. */
  readonly isStarting?: (streamId: string) => boolean;
  /** Refuses the live edge when the origin can do no more than take what is published. */
  readonly gate?: Pick<OverloadGate, 'assertRoom'>;
  /** Who may play protected streams; without it every stream is for everybody. */
  readonly access?: Pick<PlaybackAccess, 'isPublic' | 'assertMayPlay'>;
};

/** A request for something below `/live/`, whatever it came in with. */
export type PlaybackRequest = {
  readonly method: string;
  readonly target: PlaybackTarget;
  readonly conditions: AnswerConditions;
  readonly authorization?: string | undefined;
  readonly client: Client;
};

/** Answers a playback request; `undefined` when its client has gone. Never rejects. */
export type PlaybackRoutes = (request: PlaybackRequest) => Promise<Answer | undefined>;

/** Tokens are about paths; under which name a CDN knows this origin is nobody's business. */
const ANY_HOST = 'http://origin';
const METHODS = 'GET, HEAD, OPTIONS';

/** For CDNs that cannot check tokens themselves: `/t/{token}/live/{id}/access` says whether its holder may play. */
const ACCESS_CHECK = 'access';
const MAY_PLAY: Answer = { status: 204, headers: { 'cache-control': 'public, max-age=10' }, body: null };

const PREFLIGHT: Answer = {
  status: 204,
  headers: {
    ...CORS_HEADERS,
    allow: METHODS,
    'access-control-allow-methods': METHODS,
    'access-control-allow-headers': '*',
    'access-control-max-age': '86400',
  },
  body: null,
};

/**
 * What players and CDNs ask for: `GET`, `HEAD`, `OPTIONS` of `/live/{id}/master.m3u8`, `/{rendition}/index.m3u8`,
 * `/{rendition}/{msn}.m4s`, `/{rendition}/{msn}.{part}.m4s` and `/{rendition}/init-{n}.mp4`. Requests for what is about
 * to come are held.
 */
export function createPlaybackRoutes(streams: LiveStreams, deps: PlaybackRoutesDeps): PlaybackRoutes {
  const answers = new PreparedAnswers();
  return async (request) => {
    try {
      return await answer(request, answers, streams, deps);
    } catch (error) {
      if (error instanceof ClientGoneError) return undefined;
      return answerProblem(asProblem(error, deps.logger));
    }
  };
}

async function answer(
  { method, target, conditions, authorization, client }: PlaybackRequest,
  answers: PreparedAnswers,
  streams: LiveStreams,
  deps: PlaybackRoutesDeps,
): Promise<Answer> {
  if (method !== 'GET' && method !== 'HEAD') {
    if (method === 'OPTIONS') return PREFLIGHT;
    throw new ProblemError(405, 'method_not_allowed', `Use one of ${METHODS}.`, {
      headers: { allow: METHODS },
    });
  }
  assertWellFormed(target);
  deps.gate?.assertRoom('live');
  if (deps.access === undefined || deps.access.isPublic(target.streamId))
    return answerPlay({ target, conditions, client }, answers, streams, deps);
  await deps.access.assertMayPlay(target.token, authorization, new URL(target.path, ANY_HOST));
  const { headers, ...rest } = await answerPlay({ target, conditions, client }, answers, streams, deps);
  return { ...rest, headers: { ...headers, [ACCESS_HEADER]: 'token' } };
}

async function answerPlay(
  { target, conditions, client }: Omit<PlaybackRequest, 'method' | 'authorization'>,
  answers: PreparedAnswers,
  streams: LiveStreams,
  deps: PlaybackRoutesDeps,
): Promise<Answer> {
  const { renditionId, file, query } = target;
  if (renditionId === undefined && file === ACCESS_CHECK) return MAY_PLAY;
  const playback = await playbackOf(target, client, streams, deps);
  if (renditionId === undefined) return answers.playlist(await playback.multivariant(client), conditions);
  if (!RENDITION_ID_PATTERN.test(renditionId))
    throw new ProblemError(
      400,
      'rendition_id_invalid',
      'A rendition id has 1 to 32 small letters, digits, "_" and "-".',
    );
  if (file === MEDIA_PLAYLIST) {
    const directives = parseDeliveryDirectives(query);
    return answers.playlist(await playback.playlist(renditionId, directives, client), conditions);
  }
  const media = parseMediaFile(file);
  switch (media?.kind) {
    case 'segment':
      return answers.media(await playback.segmentOrRecorded(renditionId, media.msn, client), conditions);
    case 'part':
      return answers.media(await playback.part(renditionId, media.msn, media.part, client), conditions);
    case 'init':
      return answers.media(await playback.init(renditionId, media.timeline, client), conditions);
    case undefined:
      throw new ProblemError(404, 'file_not_found', 'No file of a rendition has such a name.');
  }
}

function assertWellFormed({ streamId, renditionId, file, query }: PlaybackTarget): void {
  if (!STREAM_ID_PATTERN.test(streamId))
    throw new ProblemError(400, 'stream_id_invalid', 'A stream id has 1 to 64 letters, digits, "_" and "-".');
  if (query.length > QUERY_CHARS_MAX)
    throw new ProblemError(400, 'query_too_long', `The query is longer than ${QUERY_CHARS_MAX} characters.`);
  if (renditionId === undefined && file !== MULTIVARIANT_PLAYLIST && file !== ACCESS_CHECK)
    throw new ProblemError(404, 'file_not_found', 'No file of a stream has such a name.');
}

async function playbackOf(
  { streamId }: PlaybackTarget,
  client: Client,
  streams: LiveStreams,
  deps: PlaybackRoutesDeps,
): Promise<Playback> {
  const elsewhere = deps.playbackElsewhere?.(streamId, deps.isKnownStream?.(streamId) ?? false);
  if (elsewhere !== undefined) return elsewhere;
  const stream = streams.get(streamId);
  if (stream !== undefined) return stream.playback;
  if (deps.isStarting?.(streamId) === true) return (await streams.arrival(streamId, client)).playback;
  const isKnown = deps.isKnownStream?.(streamId) ?? false;
  throw new ProblemError(
    404,
    isKnown ? 'stream_offline' : 'stream_not_found',
    isKnown ? 'Nobody publishes this stream now.' : 'There is no such stream here.',
    { headers: { 'cache-control': 'public, max-age=1' } },
  );
}

function asProblem(error: unknown, logger: Logger): ProblemError {
  if (error instanceof ProblemError) return error;
  if (error instanceof DeliveryDirectiveError)
    return new ProblemError(400, error.code, error.message, { cause: error });
  logger.error({ err: error }, 'playback request failed');
  return new ProblemError(500, 'internal_error', 'Something failed on our side; try again.');
}
