import { randomUUID } from 'node:crypto';
import { Hono } from 'hono';
import { PlaybackAccess } from '#origin/access/playback-access.ts';
import { createPlaybackListener } from '#origin/http/playback-listener.ts';
import { createPlaybackRoutes } from '#origin/http/playback-routes.ts';
import { createUploadRoutes } from '#origin/http/upload-routes.ts';
import { DEFAULT_LIVE_SETTINGS } from '#origin/live/live-settings.ts';
import { LiveStreams } from '#origin/live/live-streams.ts';
import { makeInit, makePart, makePresentation, partTicks } from '#origin/live/testing/synthetic-media.ts';
import { toUploadHeaders } from '#protocol/ingest/part-upload.ts';
import type { RenditionDescription } from '#protocol/ingest/publish-session.ts';
import type { AccessKey } from '#protocol/access/access-keys.ts';
import { systemClock } from '#runtime/clock.ts';
import { listen } from '#runtime/http/server.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';

/** The real origin without its control plane, with a live stream that a made-up transcoder uploads to it. */
export type LiveOrigin = {
  readonly url: string;
  readonly port: number;
  readonly streamId: string;
  /** Uploads so far that were not accepted; there should be none. */
  readonly refused: number;
  /** Stops uploading, as when the broadcaster's machine dies, and goes on after `resume`. */
  pause(): void;
  resume(): void;
  close(): Promise<void>;
};

export type LiveOriginOptions = {
  /** With these the stream is protected. */
  readonly accessKeys?: readonly AccessKey[];
  readonly pullTokens?: readonly string[];
};

const TOKEN = 'ingest-token-of-the-tests';

/**
 * Starts the playback and upload routes of the origin on a free port and uploads parts of noise in real time, through the
 * wire contract of transcoders.
 */
export async function startLiveOrigin(
  streamId = 'demo',
  options: LiveOriginOptions = {},
): Promise<LiveOrigin> {
  const deps = {
    clock: systemClock,
    metrics: createMetrics('origin'),
    logger: createLogger('test', 'silent'),
  };
  const streams = new LiveStreams(DEFAULT_LIVE_SETTINGS, deps);
  const app = new Hono();
  app.route('/', createUploadRoutes(streams, { ingestToken: TOKEN }));
  const access = new PlaybackAccess(options.accessKeys ?? [], options.pullTokens ?? [], {
    ...deps,
    accessOf: () => (options.accessKeys === undefined ? 'public' : 'token'),
  });
  const first = createPlaybackListener(createPlaybackRoutes(streams, { logger: deps.logger, access }));
  const server = await listen(app.fetch, { port: 0, host: '127.0.0.1', first });

  const presentation = makePresentation();
  const writer = { sessionId: randomUUID(), fencingToken: 1 };
  const grant = streams.beginTimeline({
    streamId,
    ...writer,
    anchorUtcMs: Date.now(),
    presentation,
    lastMsnFloor: 0,
    reconnectWindowMs: 60_000,
    liveWindowMs: 30_000,
  });
  const state = { refused: 0, paused: false };
  const put = async (rendition: RenditionDescription, file: string, body: Uint8Array, headers: object) => {
    const answer = await fetch(`${server.url}/ingest/v1/${streamId}/${rendition.id}/${file}`, {
      method: 'PUT',
      body,
      headers: { authorization: `Bearer ${TOKEN}`, ...headers },
    }).catch(() => undefined);
    if (answer === undefined || !answer.ok) state.refused++;
    await answer?.body?.cancel();
  };
  const upload = async (cell: number): Promise<void> => {
    const msn = grant.firstMsn + Math.floor(cell / presentation.partsPerSegment);
    const part = cell % presentation.partsPerSegment;
    await Promise.all(
      presentation.renditions.map((rendition) => {
        const ticks = partTicks(presentation, rendition, cell);
        const independent = rendition.kind === 'audio' || part === 0;
        const mediaBytes = Math.round((rendition.bitrateBps * ticks.durationTicks) / rendition.timescale / 8);
        const label = `${rendition.id} ${msn}.${part}`;
        const headers = toUploadHeaders({
          ...writer,
          timeline: grant.timeline,
          ...ticks,
          independent,
          last: part === presentation.partsPerSegment - 1,
          gap: false,
          arrivalUtcMs: Date.now(),
        });
        return put(
          rendition,
          `${msn}.${part}.m4s`,
          makePart({ ...ticks, independent, label, mediaBytes }),
          headers,
        );
      }),
    );
  };

  const { ticks, timescale } = presentation.segmentDuration;
  const cellMs = (ticks * 1_000) / timescale / presentation.partsPerSegment;
  for (const rendition of presentation.renditions)
    await put(rendition, `init-${grant.timeline}.mp4`, makeInit(rendition, grant.timeline), {
      ...toUploadHeaders({
        ...writer,
        timeline: grant.timeline,
        startTicks: 0,
        durationTicks: 0,
        independent: false,
        last: false,
        gap: false,
        arrivalUtcMs: 0,
      }),
    });
  // Some segments at once, so that a playlist is there; the rest as time passes.
  let cell = 0;
  for (; cell < presentation.partsPerSegment * 3; cell++) await upload(cell);
  const startMs = performance.now() - cell * cellMs;
  let timer: NodeJS.Timeout;
  const go = (): void => {
    const dueMs = startMs + (cell + 1) * cellMs - performance.now();
    timer = setTimeout(
      () => {
        if (state.paused) return;
        void upload(cell++).then(go);
      },
      Math.max(0, dueMs),
    );
  };
  go();

  return {
    url: server.url,
    port: server.port,
    streamId,
    get refused() {
      return state.refused;
    },
    pause: () => {
      state.paused = true;
    },
    resume: () => {
      state.paused = false;
      go();
    },
    close: async () => {
      state.paused = true;
      clearTimeout(timer);
      await server.close(0);
      await streams.close();
    },
  };
}
