import { readFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import type { Browser } from 'playwright-core';
import { LOW_LATENCY_LOAD_POLICIES } from '#origin/player/browser/load-policy.ts';
import type { SteeringManifest } from '#protocol/steering/steering-manifest.ts';
import { waitFor } from '#tests/support/wait-for.ts';

export const PLAYERS = ['hls.js', 'shaka-player'] as const;
/**
 * `hls.js-default` is hls.js without any setting, as near to the live edge as the playlist says; `hls.js-page` has the load
 * policies of our player page and keeps its distance to live.
 */
export type PlayerName = (typeof PLAYERS)[number] | 'hls.js-default' | 'hls.js-page';

/** A player in Chromium that plays a steered playlist. */
export type SteeredPlayer = {
  readonly name: PlayerName;
  /** Parts, segments and inits that a CDN answered with 200, oldest first. */
  readonly loads: readonly { readonly cdn: string; readonly atMs: number }[];
  /** Statuses of the steering server's answers. */
  readonly steeringStatuses: readonly number[];
  /** Position, the longest time that it did not move since this was asked last, and how far from live hls.js aims. */
  progress(): Promise<{
    readonly timeS: number;
    readonly standstillMs: number;
    readonly targetLatencyS: number | null;
  }>;
  /** Errors that the player told of, for the message of a test that failed. */
  errors(): Promise<readonly string[]>;
  close(): Promise<void>;
};

export type SteeredPlayers = {
  /**
   * Opens a player for a session; players of one session get the same token and so the same order. With a `masterUrl` the
   * player loads that instead, as from a real edge.
   */
  open(browser: Browser, name: PlayerName, session: string, masterUrl?: string): Promise<SteeredPlayer>;
  /** The order that steering gave for the session when its playlist was made. */
  orderOf(session: string): Promise<readonly string[]>;
  /** The order that steering gives for the session now. */
  orderNow(session: string): Promise<readonly string[]>;
  close(): Promise<void>;
};

export type SteeredPlayersOptions = {
  /** `http://host:port` of the edge. */
  readonly edgeUrl: string;
  /** `http://host:port` of the steering server. */
  readonly steeringUrl: string;
  readonly streamId: string;
  /** Base URL per CDN. */
  readonly cdns: ReadonlyMap<string, string>;
};

const require = createRequire(import.meta.url);
const SCRIPTS: Readonly<Record<PlayerName, string>> = {
  'hls.js': require.resolve('hls.js/dist/hls.min.js'),
  'hls.js-default': require.resolve('hls.js/dist/hls.min.js'),
  'hls.js-page': require.resolve('hls.js/dist/hls.min.js'),
  'shaka-player': require.resolve('shaka-player/dist/shaka-player.compiled.js'),
};
/** As their authors ship them, but for a distance to the live edge that a busy machine can keep. */
const START: Readonly<Record<PlayerName, string>> = {
  'hls.js': startHlsJs('{ liveSyncDuration: 4 }'),
  'hls.js-default': startHlsJs('{}'),
  'hls.js-page': startHlsJs(
    JSON.stringify({
      ...LOW_LATENCY_LOAD_POLICIES,
      lowLatencyMode: true,
      maxLiveSyncPlaybackRate: 1.5,
      enableWorker: false,
    }),
  ),
  'shaka-player': `
    const player = new shaka.Player();
    player.addEventListener('error', ({ detail }) => errors.push([detail.code, detail.data, detail.message].join(' ')));
    player.attach(video).then(() => player.load(url)).then(() => video.play(), (error) => errors.push(String(error)));`,
};

function startHlsJs(config: string): string {
  return `
    const hls = (window.hls = new Hls(${config}));
    hls.on(Hls.Events.ERROR, (_, data) => {
      errors.push(data.details + (data.fatal ? ' (fatal)' : ''));
      // What hls.js asks pages to do with an error of the network that it has given up on.
      if (data.fatal && data.type === Hls.ErrorTypes.NETWORK_ERROR) setTimeout(() => hls.startLoad(), 500);
    });
    hls.on(Hls.Events.MANIFEST_PARSED, () => video.play());
    hls.loadSource(url);
    hls.attachMedia(video);`;
}

/** What the edge made for a session. */
type SessionPlaylist = {
  readonly text: string;
  readonly serverUri: string;
  /** What steering says of it at the same time; the edge has named the first of it. */
  readonly order: readonly string[];
};

/**
 * Serves the pages that play, and to each of them its session's playlist as the edge has made it. The edge knows the CDNs as
 * steering does, by address; players know them by name.
 */
export async function startSteeredPlayers(options: SteeredPlayersOptions): Promise<SteeredPlayers> {
  const playlists = new Map<string, Promise<SessionPlaylist>>();
  const askSteering = async (url: string): Promise<SteeringManifest> => {
    const answer = await fetch(url);
    if (answer.status !== 200) throw new Error(`a player got ${answer.status}`);
    return (await answer.json()) as SteeringManifest;
  };
  const askEdge = async (): Promise<SessionPlaylist> => {
    const answer = await fetch(`${options.edgeUrl}/live/${options.streamId}/master.m3u8?steering=1`);
    if (answer.status !== 200) throw new Error(`a player got ${answer.status}`);
    let text = await answer.text();
    for (const url of options.cdns.values()) {
      const { port, origin } = new URL(url);
      text = text.replaceAll(`http://127.0.0.1:${port}/`, `${origin}/`);
    }
    const [, serverUri = '', first = ''] = /SERVER-URI="([^"]+)",PATHWAY-ID="([^"]+)"/.exec(text) ?? [];
    const order = (await askSteering(serverUri))['PATHWAY-PRIORITY'];
    if (order[0] !== first) throw new Error(`the edge begins with ${first}, steering with ${order[0]}`);
    return { text, serverUri, order };
  };
  const playlistOf = (session: string): Promise<SessionPlaylist> => {
    const known = playlists.get(session);
    if (known !== undefined) return known;
    const asked = askEdge();
    playlists.set(session, asked);
    return asked;
  };
  const orderNow = async (session: string): Promise<readonly string[]> =>
    (await askSteering((await playlistOf(session)).serverUri))['PATHWAY-PRIORITY'];
  const serve = async (target: string, response: ServerResponse): Promise<void> => {
    const [, kind = '', session = '', name = ''] = (target.split('?')[0] ?? '').split('/');
    const player = Object.keys(SCRIPTS).find((known): known is PlayerName => known === name);
    if (kind === 'master')
      return send(response, 'application/vnd.apple.mpegurl', (await playlistOf(session)).text);
    if (player === undefined) return void response.writeHead(404).end();
    if (kind === 'script') return send(response, 'text/javascript', await readFile(SCRIPTS[player], 'utf8'));
    send(response, 'text/html', page(player, session));
  };
  const server = createServer((request, response) => {
    serve(request.url ?? '', response).catch((error: unknown) => {
      response.writeHead(500).end(String(error));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    open: (browser, name, session, masterUrl) => {
      const query = masterUrl === undefined ? '' : `?${encodeURIComponent(masterUrl)}`;
      return openPlayer(browser, name, `${url}/play/${session}/${name}${query}`, options);
    },
    orderOf: async (session) => (await playlistOf(session)).order,
    orderNow,
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function openPlayer(
  browser: Browser,
  name: PlayerName,
  url: string,
  options: SteeredPlayersOptions,
): Promise<SteeredPlayer> {
  const context = await browser.newContext({ viewport: { width: 400, height: 300 } });
  const tab = await context.newPage();
  const loads: { cdn: string; atMs: number }[] = [];
  const steeringStatuses: number[] = [];
  // Whatever name of this machine the playlist has.
  const byPort = new Map([...options.cdns].map(([cdn, base]) => [new URL(base).port, cdn]));
  tab.on('response', (response) => {
    const { origin, port, pathname } = new URL(response.url());
    if (origin === options.steeringUrl) steeringStatuses.push(response.status());
    const cdn = byPort.get(port);
    if (cdn !== undefined && response.status() === 200 && /\.(?:m4s|mp4)$/.test(pathname))
      loads.push({ cdn, atMs: performance.now() });
  });
  const progress: SteeredPlayer['progress'] = () => tab.evaluate('window.progress()');
  const errors: SteeredPlayer['errors'] = () => tab.evaluate('window.errors');
  await tab.goto(url);
  try {
    await waitFor(`${name} to play`, async () => (await progress()).timeS > 0.5 && loads.length > 3, {
      deadlineMs: 20_000,
      intervalMs: 100,
    });
  } catch (error) {
    const said = (await errors()).slice(-10).join(', ');
    await context.close();
    throw new Error(`${name} does not play: ${said}`, { cause: error });
  }
  await progress();
  return { name, loads, steeringStatuses, progress, errors, close: () => context.close() };
}

function page(player: PlayerName, session: string): string {
  return `<!doctype html><video muted playsinline width="320"></video>
<script src="/script/${session}/${player}"></script>
<script>
  const video = document.querySelector('video');
  const url = decodeURIComponent(location.search.slice(1)) || new URL('/master/${session}/master.m3u8', location.href).href;
  const errors = (window.errors = []);
  let position = -1, movedMs = 0, standstillMs = 0;
  setInterval(() => {
    const nowMs = performance.now();
    if (video.currentTime !== position) movedMs = nowMs;
    position = video.currentTime;
    standstillMs = Math.max(standstillMs, nowMs - movedMs);
  }, 50);
  let firstS;
  window.progress = () => {
    if (firstS === undefined && !video.paused && video.readyState > 2) firstS = video.currentTime;
    const seen = { timeS: firstS === undefined ? 0 : video.currentTime - firstS, standstillMs, targetLatencyS: window.hls?.targetLatency ?? null };
    standstillMs = 0;
    return seen;
  };
  ${START[player]}
</script>`;
}

function send(response: ServerResponse, type: string, body: string): void {
  response.writeHead(200, { 'content-type': type, 'cache-control': 'no-store' }).end(body);
}
