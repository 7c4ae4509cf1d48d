import { Hono } from 'hono';
import { STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import { requireBearer } from '#runtime/http/bearer-auth.ts';
import { allowOnly } from '#runtime/http/methods.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { RecordingCatalog } from '#origin/recording/recording-catalog.ts';
import { recordingUri } from '#origin/recording/recorded-playback.ts';
import type { StreamRegistry } from '#origin/registry/stream-registry.ts';

export type RecordingRoutesDeps = {
  readonly adminToken: string;
  readonly registry: Pick<StreamRegistry, 'get'>;
  readonly catalog: Pick<RecordingCatalog, 'list'>;
  /** Scheme, host and port of playback URLs; '' takes those of the request. */
  readonly publicUrl: string;
};

const TENANT_ID = 'default';
const RECORDINGS = '/api/v1/streams/:id/recordings';

/** `GET /api/v1/streams/{id}/recordings`: what is kept of a stream, newest first, for holders of the admin token. */
export function createRecordingRoutes(deps: RecordingRoutesDeps): Hono {
  const app = new Hono();
  app.get(RECORDINGS, requireBearer(deps.adminToken, 'livehls'), async (context) => {
    const id = context.req.param('id');
    if (!STREAM_ID_PATTERN.test(id))
      throw new ProblemError(404, 'stream_not_found', 'There is no such stream.');
    await deps.registry.get(TENANT_ID, id);
    const base = deps.publicUrl === '' ? new URL(context.req.url).origin : deps.publicUrl;
    const recordings = (await deps.catalog.list(id)).flatMap((recording) => {
      const { ref, beganAtMs, endedAtMs, expiresAtMs, wish } = recording;
      if (wish.retentionMs === 0) return [];
      const uri = endedAtMs === null ? 'dvr.m3u8' : recordingUri(ref.id);
      return {
        id: String(ref.id),
        status: endedAtMs === null ? 'recording' : 'ended',
        startedAt: new Date(beganAtMs).toISOString(),
        endedAt: toIso(endedAtMs),
        expiresAt: toIso(expiresAtMs),
        playback: { hls: `${base}/live/${id}/${uri}` },
      };
    });
    return context.json({ recordings });
  });
  allowOnly(app, RECORDINGS, ['GET']);
  return app;
}

function toIso(timeMs: number | null): string | null {
  return timeMs === null ? null : new Date(timeMs).toISOString();
}
