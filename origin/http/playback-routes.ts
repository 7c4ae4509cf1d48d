import { ACCESS_HEADER } from '#protocol/access/access-header.ts';
import {
  DeliveryDirectiveError,
  QUERY_CHARS_MAX,
  parseDeliveryDirectives,
} from '#protocol/hls/delivery-directives.ts';
import {
  DVR_PLAYLIST,
  MEDIA_PLAYLIST,
  MULTIVARIANT_PLAYLIST,
  RECORDINGS_FOLDER,
  parseMediaFile,
} from '#protocol/hls/media-uris.ts';
import { RENDITION_ID_PATTERN, STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Logger } from '#runtime/log.ts';
import type { PlaybackAccess } from '#origin/access/playback-access.ts';
import { ClientGoneError, type Client } from '#origin/live/held-requests.ts';
import type { Playback, PlaylistAnswer } from '#origin/live/live-playback.ts';
import type { RecordedPlayback } from '#origin/recording/recorded-playback.ts';
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
  /** What is kept of streams; without it only what is in memory can be played. */
  readonly recorded?: RecordedPlayback;
  /** Whether a broadcaster has connected whose media are not here yet; such requests are held. Must not wait either. */
  readonly isStarting?: (streamId: string) => boolean;
  /** Refuses the live edge when the origin can do no more than take what is published. */
  readonly gate?: Pick<OverloadGate, 'assertRoom' | 'run'>;
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
/** How often a reload of a playlist of whole segments is held: for a segment's beginning, and for its end. */
const DVR_ROUNDS_MAX = 2;
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
  const { renditionId, file } = target;
  if (renditionId === undefined && file === ACCESS_CHECK) return MAY_PLAY;
  // Not asked in vain: every wait for nothing costs those who come by the thousand.
  const mayBeRecorded = file === DVR_PLAYLIST || renditionId === RECORDINGS_FOLDER;
  if (mayBeRecorded) deps.gate?.assertRoom('dvr');
  const playlist = mayBeRecorded ? await recordedPlaylist(target, client, streams, deps) : undefined;
  if (playlist !== undefined) return answers.playlist(playlist, conditions);
  try {
    return await answerLive({ target, conditions, client }, answers, streams, deps);
  } catch (error) {
    if (!(error instanceof ProblemError) || error.code !== 'stream_offline') throw error;
    const answerKept = (): Promise<Answer> =>
      answerRecorded({ target, conditions, client }, answers, deps, error);
    return deps.gate === undefined ? answerKept() : deps.gate.run('dvr', answerKept);
  }
}

async function answerLive(
  { target, conditions, client }: Omit<PlaybackRequest, 'method' | 'authorization'>,
  answers: PreparedAnswers,
  streams: LiveStreams,
  deps: PlaybackRoutesDeps,
): Promise<Answer> {
  const { renditionId, file, query } = target;
  const found = playbackOf(target, client, streams, deps);
  const playback = found instanceof Promise ? await found : found;
  if (renditionId === undefined) return answers.playlist(await playback.multivariant(client), conditions);
  if (!RENDITION_ID_PATTERN.test(renditionId)) throw renditionIdInvalid();
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

/** Playlists that are always written from the recording; undefined when the URL is none of theirs. */
async function recordedPlaylist(
  target: PlaybackTarget,
  client: Client,
  streams: LiveStreams,
  deps: PlaybackRoutesDeps,
): Promise<PlaylistAnswer | undefined> {
  const { streamId, renditionId, file, query } = target;
  const { recorded, isKnownStream } = deps;
  const isRecording = renditionId === RECORDINGS_FOLDER && file.includes('/');
  if (file !== DVR_PLAYLIST && !isRecording) return undefined;
  if (recorded === undefined || isKnownStream?.(streamId) === false) throw fileNotFound();
  if (isRecording) return recorded.recording(streamId, file);
  if (renditionId !== undefined && !RENDITION_ID_PATTERN.test(renditionId)) throw renditionIdInvalid();
  const { block, form } = parseDeliveryDirectives(query);
  if (block === undefined || renditionId === undefined) return recorded.dvr(streamId, renditionId, form);
  const held = { block: { msn: block.msn, part: undefined }, form };
  // A playlist of whole segments is held by the live one, which may answer with the segment's beginning first.
  for (let rounds = 0; ; rounds++) {
    const playlist = await recorded.dvr(streamId, renditionId, form);
    if (playlist.newestMsn === undefined) return playlist;
    if (playlist.newestMsn >= block.msn) return { ...playlist, freshness: 'blocking' };
    if (rounds === DVR_ROUNDS_MAX) return { ...playlist, freshness: 'interim' };
    const live = await playbackOf(target, client, streams, deps);
    await live.playlist(renditionId, held, client);
  }
}

/** A stream that is not live, from its newest recording. */
async function answerRecorded(
  { target, conditions, client }: Omit<PlaybackRequest, 'method' | 'authorization'>,
  answers: PreparedAnswers,
  { recorded, isKnownStream }: PlaybackRoutesDeps,
  offline: ProblemError,
): Promise<Answer> {
  const { streamId, renditionId, file } = target;
  if (recorded === undefined || isKnownStream?.(streamId) !== true) throw offline;
  if (renditionId === undefined || file === MEDIA_PLAYLIST)
    return answers.playlist(await recorded.newest(streamId, renditionId), conditions);
  if (!RENDITION_ID_PATTERN.test(renditionId)) throw renditionIdInvalid();
  const media = parseMediaFile(file);
  if (media?.kind === 'segment')
    return answers.media(await recorded.segment(streamId, renditionId, media.msn, client), conditions);
  if (media?.kind === 'init')
    return answers.media(await recorded.init(streamId, renditionId, media.timeline, client), conditions);
  throw offline;
}

function renditionIdInvalid(): ProblemError {
  return new ProblemError(
    400,
    'rendition_id_invalid',
    'A rendition id has 1 to 32 small letters, digits, "_" and "-".',
  );
}

function fileNotFound(): ProblemError {
  return new ProblemError(404, 'file_not_found', 'No file of a stream has such a name.');
}

function assertWellFormed({ streamId, renditionId, file, query }: PlaybackTarget): void {
  if (!STREAM_ID_PATTERN.test(streamId))
    throw new ProblemError(400, 'stream_id_invalid', 'A stream id has 1 to 64 letters, digits, "_" and "-".');
  if (query.length > QUERY_CHARS_MAX)
    throw new ProblemError(400, 'query_too_long', `The query is longer than ${QUERY_CHARS_MAX} characters.`);
  if (renditionId === undefined && ![MULTIVARIANT_PLAYLIST, DVR_PLAYLIST, ACCESS_CHECK].includes(file))
    throw fileNotFound();
}

function playbackOf(
  { streamId }: PlaybackTarget,
  client: Client,
  streams: LiveStreams,
  deps: PlaybackRoutesDeps,
): Playback | Promise<Playback> {
  const elsewhere = deps.playbackElsewhere?.(streamId, deps.isKnownStream?.(streamId) ?? false);
  if (elsewhere !== undefined) return elsewhere;
  const stream = streams.get(streamId);
  if (stream !== undefined) return stream.playback;
  if (deps.isStarting?.(streamId) === true)
    return streams.arrival(streamId, client).then(({ playback }) => playback);
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
