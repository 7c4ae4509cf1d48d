import { withToken } from '#protocol/access/token-path.ts';
import { MULTIVARIANT_PLAYLIST } from '#protocol/hls/media-uris.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { PlaybackTokens } from '#origin/access/playback-tokens.ts';
import type { ApiRoutes } from '#origin/api/api-routes.ts';
import { STREAM_OPERATIONS } from '#origin/api/stream-operations.ts';
import { streamIdOf } from '#origin/api/stream-id.ts';
import type { StreamDirectory } from '#origin/sessions/stream-directory.ts';

export type TokenRoutesDeps = {
  readonly tokens: PlaybackTokens;
  readonly directory: StreamDirectory;
  /** Scheme, host and port of playback URLs; '' takes those of the request. */
  readonly publicUrl: string;
};

/** `POST /api/v1/streams/{id}/tokens` makes a playback token. It needs no database, so that viewers get in without. */
export function serveTokens(routes: ApiRoutes, deps: TokenRoutesDeps): void {
  routes.serve(STREAM_OPERATIONS.mintToken, async (context, { tenantId, body }) => {
    const id = streamIdOf(context);
    if (deps.directory.tenantOf(id) !== tenantId)
      throw new ProblemError(404, 'stream_not_found', 'There is no such stream.');
    const { token, expiresAtMs } = await deps.tokens.mint(id, body);
    const base = deps.publicUrl === '' ? new URL(context.req.url).origin : deps.publicUrl;
    return context.json(
      {
        token,
        format: body.format,
        expiresAt: new Date(expiresAtMs).toISOString(),
        playback: { hls: base + withToken(token, `/live/${id}/${MULTIVARIANT_PLAYLIST}`) },
      },
      201,
    );
  });
}
