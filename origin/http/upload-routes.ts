import { Hono, type Context } from 'hono';
import {
  HOLDERS_HEADER,
  INIT_BYTES_MAX,
  PART_BYTES_MAX,
  UPLOAD_HEADERS,
  UploadHeaderError,
  fromUploadHeaders,
  type PartUpload,
} from '#protocol/ingest/part-upload.ts';
import { parseMediaFile } from '#protocol/hls/media-uris.ts';
import { RENDITION_ID_PATTERN, STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import { requireBearer } from '#runtime/http/bearer-auth.ts';
import { ProblemError, problemResponse } from '#runtime/http/problem.ts';
import type { LiveStream, LiveStreams } from '#origin/live/live-streams.ts';
import type { PartOutcome } from '#origin/live/part-placement.ts';
import { readUploadBody } from '#origin/http/upload-body.ts';

export type UploadRoutesDeps = {
  /** What transcoders present as `Authorization: Bearer {token}`. */
  readonly ingestToken: string;
  /** What every answer says of the origins that hold the stream; undefined when there is nothing to say. */
  readonly holdersNote?: (streamId: string) => string | undefined;
  /** Whether the stream is just being taken over from another origin. */
  readonly isAdopting?: (streamId: string) => boolean;
};

const PATH = '/ingest/v1/:streamId/:renditionId/:file';

/**
 * What transcoders put: `PUT /ingest/v1/{streamId}/{renditionId}/{msn}.{part}.m4s` and `…/init-{timeline}.mp4`, see
 * `protocol/ingest/part-upload.ts`. A part is listed when all of it is in and checked, or not at all.
 */
export function createUploadRoutes(streams: LiveStreams, deps: UploadRoutesDeps): Hono {
  const app = new Hono();
  app.put(PATH, requireBearer(deps.ingestToken, 'ingest'), async (context) => {
    const note = deps.holdersNote?.(context.req.param('streamId'));
    if (note !== undefined) context.header(HOLDERS_HEADER, note);
    try {
      if (deps.isAdopting?.(context.req.param('streamId')) === true) throw stillArriving();
      const outcome = await storeUpload(context, streams);
      return context.json({ outcome }, outcome === 'repeated' || outcome === 'superseded' ? 200 : 201);
    } catch (error) {
      const problem = asProblem(error);
      if (!(problem instanceof ProblemError)) throw problem;
      streams.metrics.uploadRejects.inc({ reason: problem.code });
      const response = problemResponse(problem);
      if (note !== undefined) response.headers.set(HOLDERS_HEADER, note);
      return response;
    }
  });
  return app;
}

function stillArriving(): ProblemError {
  return new ProblemError(
    503,
    'stream_arriving',
    'This origin is just taking the stream over; send it again.',
    {
      headers: { 'retry-after': '1' },
    },
  );
}

async function storeUpload(context: Context, streams: LiveStreams): Promise<PartOutcome> {
  const { stream, renditionId } = targetOf(context, streams);
  const file = parseMediaFile(context.req.param('file') ?? '');
  const header = (name: string): string | undefined => context.req.header(name);
  const digest = readDigest(header(UPLOAD_HEADERS.digest));
  if (file?.kind === 'init') {
    const writer = fromUploadHeaders((name) => header(name) ?? (INIT_HEADERS.has(name) ? undefined : '0'));
    if (writer.timeline !== file.timeline)
      throw new ProblemError(
        400,
        'upload_header_invalid',
        `${UPLOAD_HEADERS.timeline} is not that of the path.`,
      );
    stream.assertWriter(renditionId, writer);
    const body = await readUploadBody(context.req.raw, INIT_BYTES_MAX);
    return stream.storeInit(renditionId, writer, body, digest);
  }
  if (file?.kind !== 'part')
    throw new ProblemError(400, 'upload_path_invalid', 'Put {msn}.{part}.m4s or init-{timeline}.mp4.');
  const upload: PartUpload = { ...fromUploadHeaders(header), msn: file.msn, part: file.part };
  // Before the body is read: a writer that has lost the stream shall not fill our memory.
  stream.assertAcceptable(renditionId, upload);
  const body = await readUploadBody(context.req.raw, PART_BYTES_MAX);
  return stream.storePart(renditionId, upload, body, digest);
}

/** The headers that an init segment needs; those of a part mean nothing for it. */
const INIT_HEADERS: ReadonlySet<string> = new Set([
  UPLOAD_HEADERS.session,
  UPLOAD_HEADERS.fencingToken,
  UPLOAD_HEADERS.timeline,
  UPLOAD_HEADERS.pipeline,
]);

function targetOf(context: Context, streams: LiveStreams): { stream: LiveStream; renditionId: string } {
  const streamId = context.req.param('streamId') ?? '';
  const renditionId = context.req.param('renditionId') ?? '';
  if (!STREAM_ID_PATTERN.test(streamId) || !RENDITION_ID_PATTERN.test(renditionId))
    throw new ProblemError(400, 'upload_path_invalid', 'The stream id or the rendition id is not one.');
  const stream = streams.get(streamId);
  if (stream === undefined)
    throw new ProblemError(404, 'session_not_found', 'This session has no timeline here.');
  return { stream, renditionId };
}

/**
 * The SHA-256 of Content-Digest as base64url; other algorithms are ignored.
 *
 * @throws {ProblemError} 400 `upload_header_invalid`
 * @spec RFC 9530 §2
 */
function readDigest(header: string | undefined): string | undefined {
  if (header === undefined || !/(^|[\s,])sha-256=/.test(header)) return undefined;
  const base64 = /(?:^|[\s,])sha-256=:([A-Za-z0-9+/]{43}=):\s*(?:,|$)/.exec(header)?.[1];
  if (base64 === undefined)
    throw new ProblemError(
      400,
      'upload_header_invalid',
      `${UPLOAD_HEADERS.digest}: expected sha-256=:{base64 of 32 bytes}:`,
    );
  return base64.replaceAll('+', '-').replaceAll('/', '_').replace('=', '');
}

function asProblem(error: unknown): unknown {
  return error instanceof UploadHeaderError
    ? new ProblemError(400, error.code, error.message, { cause: error })
    : error;
}
