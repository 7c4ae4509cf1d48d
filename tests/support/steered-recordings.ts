import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Browser } from 'playwright-core';
import type { SteeringManifest } from '#protocol/steering/steering-manifest.ts';
import { steeredPlaylist } from '#tests/support/steered-playlist.ts';
import { waitFor } from '#tests/support/wait-for.ts';

/** Players of a recording, each with the manifest that it plays. */
export const RECORDING_PLAYERS = ['video.js with HLS', 'video.js with DASH', 'dash.js'] as const;
export type RecordingPlayer = (typeof RECORDING_PLAYERS)[number];

/** A request for a steering manifest, as a player made it, and what it got. */
export type SteeringExchange = {
  readonly atMs: number;
  /** What stands behind the question mark, as it was sent. */
  readonly query: string;
  readonly status: number;
  readonly manifest: SteeringManifest;
};

export type RecordingTab = {
  /** Requests for steering manifests that were answered, oldest first. */
  readonly exchanges: readonly SteeringExchange[];
  /** CDNs of the picture's segments that came, oldest first. */
  readonly loads: readonly string[];
  /** Position of the picture, seconds. */
  timeS(): Promise<number>;
  /** Errors that the player told of. */
  errors(): Promise<readonly string[]>;
  close(): Promise<void>;
};

export type SteeredRecordings = {
  /** Opens a player whose manifest has `serverUri` for its steering server and begins with `first`. */
  open(browser: Browser, player: RecordingPlayer, serverUri: string, first: string): Promise<RecordingTab>;
  close(): Promise<void>;
};

const require = createRequire(import.meta.url);
const SCRIPTS = {
  // It has @videojs/http-streaming 3.17.5 in it.
  'video.js': require.resolve('video.js/dist/video.min.js'),
  'dash.js': path.join(path.dirname(require.resolve('dashjs')), 'dash.all.min.js'),
};
const RECORDING_S = 90;
/** Stream 0 is the picture, stream 1 the tone. */
const PICTURE_SEGMENT = /\/chunk-stream0-\d+\.m4s$/;
/** Between the halves of a segment. */
const NETWORK_MS = 150;
const TYPES: Readonly<Record<string, string>> = {
  '.m3u8': 'application/vnd.apple.mpegurl',
  '.mpd': 'application/dash+xml',
  '.m4s': 'video/iso.segment',
};

/**
 * Records a small picture and a tone with ffmpeg as DASH and HLS of the same segments, and serves it under one host name per CDN
 * together with pages that play it: for players whose steering is to be tested and not their way with live streams.
 */
export async function startSteeredRecordings(cdns: readonly string[]): Promise<SteeredRecordings> {
  const folder = await mkdtemp(path.join(tmpdir(), 'steered-recording-'));
  await record(folder);
  const master = await readFile(path.join(folder, 'master.m3u8'), 'utf8');
  const mpd = await readFile(path.join(folder, 'manifest.mpd'), 'utf8');
  let url = '';
  const baseOf = (cdn: string): string => url.replace('127.0.0.1', `${cdn}.localhost`);

  const serve = async (target: URL, response: ServerResponse): Promise<void> => {
    const { pathname, searchParams } = target;
    const steering = {
      serverUri: searchParams.get('steering') ?? '',
      first: searchParams.get('first') ?? '',
      before: searchParams.get('before') ?? '',
    };
    const name = path.basename(pathname);
    if (pathname === '/steered.m3u8') {
      const pathways = new Map(cdns.map((cdn) => [cdn, `${baseOf(cdn)}/media/`]));
      send(response, TYPES['.m3u8'] ?? '', steeredPlaylist({ master, pathways, ...steering }));
    } else if (pathname === '/steered.mpd') {
      send(response, TYPES['.mpd'] ?? '', steeredMpd(mpd, steering));
    } else if (pathname === '/play') {
      send(response, 'text/html', page(searchParams.get('player') ?? '', searchParams.get('src') ?? ''));
    } else if (pathname.startsWith('/script/')) {
      const script = name === 'dash.js' ? SCRIPTS['dash.js'] : SCRIPTS['video.js'];
      send(response, 'text/javascript', await readFile(script));
    } else if (pathname.startsWith('/media/')) {
      const bytes = await readFile(path.join(folder, name));
      sendSlowly(response, TYPES[path.extname(name)] ?? 'application/octet-stream', bytes);
    } else {
      response.writeHead(404).end();
    }
  };
  const steeredMpd = (
    text: string,
    { serverUri, first, before }: Readonly<Record<'serverUri' | 'first' | 'before', string>>,
  ): string => {
    const locations = cdns.map((cdn) => `<BaseURL serviceLocation="${cdn}">${baseOf(cdn)}/media/</BaseURL>`);
    const steering = `<ContentSteering defaultServiceLocation="${first}" queryBeforeStart="${before}">${serverUri}</ContentSteering>`;
    return text.replace('<Period', `${locations.join('')}${steering}<Period`);
  };
  const server = createServer((request, response) => {
    if (request.method === 'OPTIONS') {
      response
        .writeHead(204, { 'access-control-allow-origin': '*', 'access-control-allow-headers': '*' })
        .end();
      return;
    }
    serve(new URL(request.url ?? '/', url), response).catch((error: unknown) => {
      response.writeHead(500).end(String(error));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    open: (browser, player, serverUri, first) => {
      const kind = player === 'video.js with HLS' ? 'm3u8' : 'mpd';
      // video.js asks twice in a row when it is to ask before it starts.
      const before = String(player === 'dash.js');
      const query = new URLSearchParams({ steering: serverUri, first, before });
      const src = `/steered.${kind}?${query.toString()}`;
      const pageUrl = `${url}/play?${new URLSearchParams({ player, src }).toString()}`;
      return openTab(browser, pageUrl, new URL(serverUri).origin);
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function record(folder: string): Promise<void> {
  const picture = ['-f', 'lavfi', '-i', `testsrc=size=160x90:rate=10:duration=${RECORDING_S}`];
  // Without audio, video.js stops loading for good when a DASH manifest is steered elsewhere (http-streaming 3.17.5).
  const tone = ['-f', 'lavfi', '-i', `sine=frequency=440:sample_rate=48000:duration=${RECORDING_S}`];
  const video = [
    '-c:v',
    'libx264',
    '-preset',
    'ultrafast',
    '-pix_fmt',
    'yuv420p',
    '-g',
    '20',
    '-b:v',
    '100k',
  ];
  const codecs = [...video, '-c:a', 'aac', '-b:a', '48k'];
  const sets = ['-adaptation_sets', 'id=0,streams=v id=1,streams=a'];
  const dash = ['-f', 'dash', '-seg_duration', '2', '-use_timeline', '0', '-hls_playlist', '1', ...sets];
  const output = [...dash, path.join(folder, 'manifest.mpd')];
  await promisify(execFile)(
    'ffmpeg',
    ['-hide_banner', '-loglevel', 'error', ...picture, ...tone, ...codecs, ...output],
    { timeout: 60_000 },
  );
}

async function openTab(browser: Browser, url: string, steeringOrigin: string): Promise<RecordingTab> {
  const context = await browser.newContext({ viewport: { width: 400, height: 300 } });
  const tab = await context.newPage();
  const exchanges: SteeringExchange[] = [];
  const loads: string[] = [];
  tab.on('response', (response) => {
    const { origin, hostname, pathname, search } = new URL(response.url());
    if (origin === steeringOrigin && response.request().method() === 'GET') {
      const seen = { atMs: performance.now(), query: search.slice(1), status: response.status() };
      // A page that is closed meanwhile has no body any more.
      response.json().then(
        (manifest: SteeringManifest) => exchanges.push({ ...seen, manifest }),
        () => undefined,
      );
    } else if (PICTURE_SEGMENT.test(pathname) && response.ok())
      loads.push(hostname.replace('.localhost', ''));
  });
  await tab.goto(url);
  const errors = (): Promise<readonly string[]> => tab.evaluate('window.errors');
  const timeS = (): Promise<number> => tab.evaluate("document.querySelector('video')?.currentTime ?? 0");
  try {
    await waitFor('the recording to play', async () => (await timeS()) > 0.5, {
      deadlineMs: 20_000,
      intervalMs: 100,
    });
  } catch (error) {
    const said = (await errors()).slice(-10).join(', ');
    await context.close();
    throw new Error(`does not play: ${said}`, { cause: error });
  }
  return { exchanges, loads, timeS, errors, close: () => context.close() };
}

function page(player: string, src: string): string {
  const isDash = player === 'dash.js';
  const type = src.startsWith('/steered.mpd') ? TYPES['.mpd'] : TYPES['.m3u8'];
  const start = isDash
    ? `const player = dashjs.MediaPlayer().create();
  player.on('error', ({ error }) => errors.push(error.message));
  // A short buffer, so that it goes on loading while it is watched.
  player.updateSettings({ streaming: { buffer: { bufferTimeDefault: 6, bufferTimeAtTopQuality: 6, bufferTimeAtTopQualityLongForm: 6 } } });
  player.initialize(video, src, true);`
    : `videojs.Vhs.GOAL_BUFFER_LENGTH = 6;
  videojs.Vhs.MAX_GOAL_BUFFER_LENGTH = 6;
  const player = videojs(video, { html5: { vhs: { overrideNative: true } } });
  player.on('error', () => errors.push(player.error()?.message));
  player.src({ src, type: '${type}' });
  player.ready(() => player.play());`;
  return `<!doctype html><video muted playsinline width="320"></video>
<script src="/script/${isDash ? 'dash.js' : 'video.js'}"></script>
<script>
  const video = document.querySelector('video');
  const src = new URL(${JSON.stringify(src)}, location.href).href;
  const errors = (window.errors = []);
  ${start}
</script>`;
}

/** As over a network: players take what comes at once for cached, and measure no throughput by it. */
function sendSlowly(response: ServerResponse, type: string, body: Uint8Array): void {
  response.writeHead(200, { 'content-type': type, 'access-control-allow-origin': '*' });
  const half = Math.floor(body.length / 2);
  response.write(body.subarray(0, half));
  setTimeout(() => response.end(body.subarray(half)), NETWORK_MS);
}

function send(response: ServerResponse, type: string, body: string | Uint8Array): void {
  response
    .writeHead(200, { 'content-type': type, 'cache-control': 'no-store', 'access-control-allow-origin': '*' })
    .end(body);
}
