import { Hono } from 'hono';
import { withToken } from '#protocol/access/token-path.ts';
import { STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import { MULTIVARIANT_PLAYLIST } from '#protocol/hls/media-uris.ts';
import { requireBearer } from '#runtime/http/bearer-auth.ts';
import { readJson } from '#runtime/http/json-body.ts';
import { allowOnly } from '#runtime/http/methods.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { PlaybackTokens } from '#origin/access/playback-tokens.ts';
import { MintToken } from '#origin/api/stream-requests.ts';
import type { StreamDirectory } from '#origin/sessions/stream-directory.ts';

export type TokenRoutesDeps = {
  readonly adminToken: string;
  readonly tokens: PlaybackTokens;
  readonly directory: StreamDirectory;
  /** Scheme, host and port of playback URLs; '' takes those of the request. */
  readonly publicUrl: string;
};

const TOKENS = '/api/v1/streams/:id/tokens';

/** `POST /api/v1/streams/{id}/tokens` makes a playback token. It needs no database, so that viewers get in without. */
export function createTokenRoutes(deps: TokenRoutesDeps): Hono {
  const app = new Hono();
  app.use(TOKENS, requireBearer(deps.adminToken, 'livehls'));
  app.post(TOKENS, async (context) => {
    const id = context.req.param('id');
    if (!STREAM_ID_PATTERN.test(id) || !deps.directory.isKnown(id))
      throw new ProblemError(404, 'stream_not_found', 'There is no such stream.');
    const request = await readJson(context, MintToken, { optional: true });
    const { token, expiresAtMs } = await deps.tokens.mint(id, request);
    const base = deps.publicUrl === '' ? new URL(context.req.url).origin : deps.publicUrl;
    return context.json(
      {
        token,
        format: request.format,
        expiresAt: new Date(expiresAtMs).toISOString(),
        playback: { hls: base + withToken(token, `/live/${id}/${MULTIVARIANT_PLAYLIST}`) },
      },
      201,
    );
  });
  allowOnly(app, TOKENS, ['POST']);
  return app;
}
