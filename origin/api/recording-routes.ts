import type { RecordingCatalog } from '#origin/recording/recording-catalog.ts';
import { recordingUri } from '#origin/recording/recorded-playback.ts';
import type { StreamRegistry } from '#origin/registry/stream-registry.ts';
import type { ApiRoutes } from '#origin/api/api-routes.ts';
import { pageOf, toIdCursor } from '#origin/api/list-query.ts';
import { STREAM_OPERATIONS } from '#origin/api/stream-operations.ts';
import { streamIdOf } from '#origin/api/stream-id.ts';

export type RecordingRoutesDeps = {
  readonly registry: Pick<StreamRegistry, 'get'>;
  readonly catalog: Pick<RecordingCatalog, 'list'>;
  /** Scheme, host and port of playback URLs; '' takes those of the request. */
  readonly publicUrl: string;
};

/** `GET /api/v1/streams/{id}/recordings`: what is kept of a stream, newest first. */
export function serveRecordings(routes: ApiRoutes, deps: RecordingRoutesDeps): void {
  routes.serve(STREAM_OPERATIONS.recordings, async (context, { tenantId, query }) => {
    const id = streamIdOf(context);
    await deps.registry.get(tenantId, id);
    const base = deps.publicUrl === '' ? new URL(context.req.url).origin : deps.publicUrl;
    const before = query.cursor === undefined ? Infinity : Number(query.cursor);
    const kept = (await deps.catalog.list(id)).filter(
      ({ ref, wish }) => wish.retentionMs !== 0 && ref.id < before,
    );
    const { page, nextCursor } = pageOf(kept, query.limit, ({ ref }) => toIdCursor(String(ref.id)));
    const recordings = page.map(({ ref, beganAtMs, endedAtMs, expiresAtMs }) => ({
      id: String(ref.id),
      status: endedAtMs === null ? 'recording' : 'ended',
      startedAt: new Date(beganAtMs).toISOString(),
      endedAt: toIso(endedAtMs),
      expiresAt: toIso(expiresAtMs),
      playback: { hls: `${base}/live/${id}/${endedAtMs === null ? 'dvr.m3u8' : recordingUri(ref.id)}` },
    }));
    return context.json({ recordings, nextCursor });
  });
}

function toIso(timeMs: number | null): string | null {
  return timeMs === null ? null : new Date(timeMs).toISOString();
}
