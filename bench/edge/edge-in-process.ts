import { createEdgeApp, type EdgeApp } from '#edge-worker/edge-app.ts';
import { EdgeCounters } from '#edge-worker/edge-counters.ts';
import { readEdgeSettings } from '#edge-worker/settings.ts';
import { writeMediaPlaylist } from '#protocol/hls/media-playlist.ts';
import { writeMultivariantPlaylist } from '#protocol/hls/multivariant-playlist.ts';
import { EMPTY_SNAPSHOT, type SteeringSnapshot } from '#protocol/steering/steering-snapshot.ts';
import { systemClock } from '#runtime/clock.ts';

/** An edge without sockets: what is measured is its own work and nothing of HTTP's. */
export type EdgeInProcess = {
  readonly app: EdgeApp;
  /** Requests that reached the origin so far. */
  originRequests(): number;
  /** Until it is called again with false, the origin answers nobody. */
  hold(held: boolean): void;
};

const ORIGIN = 'http://origin.example';
const STEERING = 'http://steering.example';
const RUNGS = [1080, 720, 480, 360, 240];
const MSN = 900_000_000;
const SEGMENTS = 30;
const PARTS = 6;
const PART = { ticks: 30_000, timescale: 90_000 };

/** Starts an edge before a made-up origin, with so many CDNs. */
export async function startEdgeInProcess(cdnCount: number): Promise<EdgeInProcess> {
  const master = masterText();
  const playlist = playlistText();
  const snapshot = JSON.stringify(snapshotOf(cdnCount));
  let requests = 0;
  let release: (() => void) | undefined;
  let held = Promise.resolve();
  const app = createEdgeApp(
    readEdgeSettings({
      ORIGIN_URLS: ORIGIN,
      EDGE_STEERING_URLS: STEERING,
      STEERING_TOKEN_KEYS: `1:${Buffer.alloc(32, 9).toString('base64url')}`,
    }),
    {
      clock: systemClock,
      counters: new EdgeCounters(),
      place: () => ({ country: undefined, asn: undefined }),
      fetch: async (url) => {
        if (url.startsWith(STEERING)) return new Response(snapshot);
        requests++;
        await held;
        const isMaster = url.endsWith('/master.m3u8');
        return new Response(isMaster ? master : playlist, {
          headers: {
            'cache-control': isMaster ? 'public, max-age=1' : 'public, max-age=12',
            etag: '"bench"',
          },
        });
      },
    },
  );
  await app.warm();
  return {
    app,
    originRequests: () => requests,
    hold: (isHeld) => {
      release?.();
      release = undefined;
      held = isHeld ? new Promise((resolve) => (release = resolve)) : Promise.resolve();
    },
  };
}

/** Path and query of the reload that is the `n`th of its kind. */
export function reloadPath(n: number, flavour: string | undefined): string {
  const folder = flavour === undefined ? '' : `via/${flavour}/`;
  return `/live/bench/${folder}720p/index.m3u8?_HLS_msn=${MSN + SEGMENTS + n}&_HLS_part=0`;
}

function masterText(): string {
  const rendition = (id: string, nominalBps: number) => ({
    id,
    uri: `${id}/index.m3u8`,
    nominalBps,
    bandwidth: { peakBps: nominalBps, averageBps: nominalBps },
  });
  return writeMultivariantPlaylist({
    video: RUNGS.map((height) => ({
      ...rendition(`${height}p`, height * 4_000),
      codecs: 'avc1.640028',
      width: Math.round((height * 16) / 9),
      height,
      frameRate: 30,
    })),
    audio: [{ ...rendition('audio', 128_000), codecs: 'mp4a.40.2', channels: 2 }],
  });
}

/** A minute of segments, the newest three with their parts, as the origin lists them. */
function playlistText(): string {
  const partsOf = (msn: number, count: number) =>
    Array.from({ length: count }, (_, part) => ({
      uri: `${msn}.${part}.m4s`,
      duration: PART,
      independent: part === 0,
      gap: false,
    }));
  const startMs = Date.UTC(2026, 0, 1);
  return writeMediaPlaylist({
    constants: { targetDurationS: 2, partTargetMs: 334 },
    mediaSequence: MSN,
    discontinuitySequence: 0,
    segments: Array.from({ length: SEGMENTS }, (_, index) => ({
      uri: `${MSN + index}.m4s`,
      duration: { ticks: 180_000, timescale: 90_000 },
      gap: false,
      discontinuity: false,
      mapUri: 'init-0.mp4',
      programDateTimeMs: startMs + 2_000 * index,
      parts: index < SEGMENTS - 3 ? [] : partsOf(MSN + index, PARTS),
    })),
    open: {
      discontinuity: false,
      mapUri: 'init-0.mp4',
      programDateTimeMs: startMs + 2_000 * SEGMENTS,
      parts: partsOf(MSN + SEGMENTS, 2),
    },
    preloadHints: [{ type: 'PART', uri: `${MSN + SEGMENTS}.2.m4s` }],
    renditionReports: RUNGS.map((height) => ({
      uri: `../${height}p/index.m3u8`,
      lastMsn: MSN + SEGMENTS,
      lastPart: 1,
    })),
    ended: false,
  });
}

function snapshotOf(cdnCount: number): SteeringSnapshot {
  return {
    ...EMPTY_SNAPSHOT,
    generation: 1,
    cdns: Array.from({ length: cdnCount }, (_, index) => ({
      name: `cdn-${index}`,
      baseUrl: `https://cdn-${index}.example`,
      enabled: true,
      weight: 10 + index,
      health: 1,
      priorityClass: 1,
      addedGeneration: 1,
      countries: [],
      asns: [],
    })),
  };
}
