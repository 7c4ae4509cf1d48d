import type { Context } from 'hono';
import { STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import { ProblemError } from '#runtime/http/problem.ts';

/** The stream that a path names. @throws {ProblemError} 404 `stream_not_found` for what cannot be one */
export function streamIdOf(context: Context): string {
  const id = context.req.param('id') ?? '';
  if (STREAM_ID_PATTERN.test(id)) return id;
  throw new ProblemError(404, 'stream_not_found', 'There is no such stream.');
}
