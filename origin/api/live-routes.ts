import type { ApiRoutes } from '#origin/api/api-routes.ts';
import { STREAM_OPERATIONS } from '#origin/api/stream-operations.ts';
import type { LiveWindow, PublishSessions } from '#origin/sessions/publish-sessions.ts';
import type { StreamDirectory } from '#origin/sessions/stream-directory.ts';
import { describeStream } from '#origin/api/stream-status.ts';
import { playbackUrl } from '#origin/api/stream-view.ts';

const CACHE_S = 1;

/** `GET /api/v1/live`: what can be watched now, for anybody. From memory: it goes on without the database. */
export function serveLive(
  routes: ApiRoutes,
  deps: {
    readonly sessions: PublishSessions;
    readonly directory: StreamDirectory;
    readonly live: LiveWindow;
    readonly publicUrl: string;
  },
): void {
  routes.serve(STREAM_OPERATIONS.live, (context) => {
    const base = deps.publicUrl === '' ? new URL(context.req.url).origin : deps.publicUrl;
    const streams = deps.sessions.publishedStreams().flatMap((id) => {
      const { state, startedAt, video, audio, viewersWaiting } = describeStream(id, deps);
      if (state === 'offline') return [];
      const playback = { hls: playbackUrl(id, base) };
      return [
        {
          id,
          name: deps.directory.nameOf(id),
          access: deps.directory.accessOf(id),
          state,
          playback,
          startedAt,
          video,
          audio,
          viewersWaiting,
        },
      ];
    });
    context.header('access-control-allow-origin', '*');
    context.header('cache-control', `public, max-age=${CACHE_S}`);
    return context.json({ streams: streams.toSorted((a, b) => compare(a.name, b.name)) });
  });
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
