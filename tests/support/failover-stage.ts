import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { launchChromium } from '#bench/browser/chromium.ts';
import type { CdnKind } from '#cdn/cdn-program.ts';
import type { SteeringSnapshot } from '#protocol/steering/steering-snapshot.ts';
import { startBreakableCdn, type BreakableCdn } from '#tests/support/breakable-cdn.ts';
import { LightViewer } from '#tests/support/light-viewer.ts';
import { startLiveSystem, waitForPlaylist, type LiveSystem } from '#tests/support/live-system.ts';
import { freePort, startLocalCdn, type LocalCdn } from '#tests/support/local-cdn.ts';
import { ManyClients } from '#tests/support/many-clients.ts';
import { startSteeredPlayers, type SteeredPlayers } from '#tests/support/steered-players.ts';
import { startFaultProxy, type FaultProxy } from '#tests/support/fault-proxy.ts';
import { waitFor } from '#tests/support/wait-for.ts';

/** A real cache, the way to it on which things break, and the way behind it on which requests are counted. */
export type StagedCdn = {
  readonly name: string;
  readonly cache: LocalCdn;
  readonly front: BreakableCdn;
  readonly behind: BreakableCdn;
};

/** The edge in a process of its own. */
export type StagedEdge = {
  readonly url: string;
  /** Is gone from one moment to the next. */
  kill(): Promise<void>;
  /** Resolves when it answers; on the port that it had. */
  start(): Promise<void>;
};

/** One key for steering and the edge, so that a session means the same to both. */
const SESSION_KEYS = `1:${Buffer.alloc(32, 7).toString('base64url')}`;

/** The mean TTL of both rhythms; with the jitter a player asks again after 7 s at the latest. */
export const TTL_S = 5;
export const PART_MS = 500;
export const RAMP_S = 6;

const KINDS: Readonly<Record<string, CdnKind>> = { north: 'nginx', south: 'varnish', west: 'trafficserver' };
const RUNGS = [
  { height: 360, bitrateBps: 1_600_000 },
  { height: 180, bitrateBps: 300_000 },
];

/** Everything from a broadcaster to three CDNs, with viewers. */
export class FailoverStage {
  readonly cdns: ReadonlyMap<string, StagedCdn>;
  readonly live: LiveSystem;
  readonly browser: Browser;
  readonly players: SteeredPlayers;
  /** In front of the steering server; players reach it through this only. */
  readonly steeringFront: FaultProxy;
  readonly clients = new ManyClients();
  #edge: { readonly staged: StagedEdge; readonly child: () => ChildProcess | undefined } | undefined;
  readonly #steeringUrl: string;
  readonly #streamId: string;
  readonly #lowestPlaylist: string;

  private constructor(parts: {
    cdns: ReadonlyMap<string, StagedCdn>;
    live: LiveSystem;
    browser: Browser;
    players: SteeredPlayers;
    steeringFront: FaultProxy;
    steeringUrl: string;
    streamId: string;
    lowestPlaylist: string;
  }) {
    this.cdns = parts.cdns;
    this.live = parts.live;
    this.browser = parts.browser;
    this.players = parts.players;
    this.steeringFront = parts.steeringFront;
    this.#steeringUrl = parts.steeringUrl;
    this.#streamId = parts.streamId;
    this.#lowestPlaylist = parts.lowestPlaylist;
  }

  static async open(): Promise<FailoverStage> {
    const steeringPort = await freePort();
    const steeringFront = await startFaultProxy(steeringPort);
    const live = await startLiveSystem({
      STEERING_PORT: String(steeringPort),
      STEERING_PUBLIC_URL: steeringFront.url,
      STEERING_TOKEN_KEYS: SESSION_KEYS,
      EDGE_PORT: '0',
      STEERING_TTL_S: String(TTL_S),
      STEERING_TTL_EVENT_S: String(TTL_S),
      STEERING_PROBE_ALLOWED_TARGETS: '127.0.0.1',
      STEERING_HEALTH_EJECTION_MS: '1000',
      STEERING_HEALTH_EJECTION_MAX_MS: '1000',
      STEERING_HEALTH_RAMP_PERCENT: '25,50',
      STEERING_HEALTH_RAMP_STEP_MS: String((RAMP_S / 2) * 1_000),
      // All viewers of a test come from one address.
      STEERING_VIEWERS_PER_ADDRESS_MAX: '1000',
    });
    const stream = await live.api.create({
      partDurationMs: PART_MS,
      ladder: { rungs: RUNGS, preset: 'ultrafast' },
    });
    const { playlists } = await live.goLive(stream, { width: 640, height: 360, videoBitrate: '2500k' });
    const cdns = new Map<string, StagedCdn>();
    for (const [name, kind] of Object.entries(KINDS)) {
      const behind = await startBreakableCdn(live.process.originUrl);
      const cache = await startLocalCdn(kind, { originUrl: behind.url });
      cdns.set(name, { name, cache, behind, front: await startBreakableCdn(cache.url) });
    }
    const players = await startSteeredPlayers({
      edgeUrl: live.process.edgeUrl,
      steeringUrl: steeringFront.url,
      streamId: stream.id,
      cdns: new Map([...cdns].map(([name, { front }]) => [name, `http://${name}.localhost:${front.port}`])),
    });
    const videos = playlists.filter((url) => !url.includes('audio'));
    const stage = new FailoverStage({
      cdns,
      live,
      players,
      steeringFront,
      browser: await launchChromium(),
      steeringUrl: `http://127.0.0.1:${steeringPort}`,
      streamId: stream.id,
      lowestPlaylist: new URL(videos.at(-1) ?? '').pathname,
    });
    for (const [name, { front }] of cdns)
      await stage.api('POST', '/api/v1/cdns', { name, baseUrl: front.url, weight: 50, reason: 'the test' });
    await waitForPlaylist(
      'some segments',
      playlists[0] ?? '',
      ({ segments }) => segments.length >= 6,
      30_000,
    );
    await stage.allWell();
    await waitFor('the edge to know the CDNs', async () => {
      const master = await fetch(`${live.process.edgeUrl}/live/${stream.id}/master.m3u8?steering=1`);
      const text = await master.text();
      return [...cdns.keys()].every((name) => text.includes(`PATHWAY-ID="${name}"`));
    });
    return stage;
  }

  /** Starts an edge in front of the origin, or returns the one that runs. */
  async edge(): Promise<StagedEdge> {
    if (this.#edge !== undefined) return this.#edge.staged;
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    let child: ChildProcess | undefined;
    const staged: StagedEdge = {
      url,
      start: async () => {
        child = spawn(process.execPath, [join(import.meta.dirname, '../../edge-worker/node/main.ts')], {
          stdio: 'ignore',
          env: {
            PATH: process.env['PATH'] ?? '',
            EDGE_PORT: String(port),
            EDGE_HOST: '127.0.0.1',
            ORIGIN_URLS: this.live.process.originUrl,
            EDGE_STEERING_URLS: this.#steeringUrl,
            STEERING_PUBLIC_URL: this.steeringFront.url,
            STEERING_TOKEN_KEYS: SESSION_KEYS,
            STEERING_TTL_S: String(TTL_S),
            LOG_LEVEL: 'error',
          },
        });
        await waitFor('the edge to answer', async () => (await fetch(this.masterUrl(staged))).status === 200);
      },
      kill: async () => {
        if (child === undefined || child.exitCode !== null) return;
        const exited = once(child, 'exit');
        child.kill('SIGKILL');
        await exited;
      },
    };
    this.#edge = { staged, child: () => child };
    await staged.start();
    return staged;
  }

  /** Where a player of the edge begins. */
  masterUrl(edge: StagedEdge, query = ''): string {
    return `${edge.url}/live/${this.#streamId}/master.m3u8${query}`;
  }

  /** Starts light viewers that do not steer: the edge names a CDN to each in its playlists. */
  async unsteeredViewers(edge: StagedEdge, count: number): Promise<LightViewer[]> {
    const master = await (await fetch(this.masterUrl(edge, '?steering=0'))).text();
    const lowest = master.split('\n').findLast((line) => line !== '' && !line.startsWith('#')) ?? '';
    const playlist = new URL(lowest, this.masterUrl(edge));
    const all = Array.from(
      { length: count },
      () =>
        new LightViewer({
          clients: this.clients,
          steeringUrl: undefined,
          cdns: new Map([['edge', edge.url]]),
          playlistPath: `${playlist.pathname}${playlist.search}`,
          partDurationMs: PART_MS,
        }),
    );
    await Promise.all(all.map((viewer) => viewer.start()));
    return all;
  }

  async close(): Promise<void> {
    await this.#edge?.staged.kill();
    this.clients.close();
    await this.browser.close();
    await this.players.close();
    for (const { front, cache, behind } of this.cdns.values()) {
      await front.close();
      await cache.close();
      await behind.close();
    }
    await this.steeringFront.close();
    await this.live.close();
  }

  cdn(name: string): StagedCdn {
    const cdn = this.cdns.get(name);
    if (cdn === undefined) throw new Error(`there is no CDN ${name}`);
    return cdn;
  }

  /** Starts so many light viewers, each in a session of its own, a few at a time. */
  async viewers(count: number): Promise<LightViewer[]> {
    const options = {
      clients: this.clients,
      steeringUrl: `${this.steeringFront.url}/steering/v1/${this.#streamId}`,
      cdns: new Map([...this.cdns].map(([name, { front }]) => [name, front.url])),
      playlistPath: this.#lowestPlaylist,
      partDurationMs: PART_MS,
    };
    const all = Array.from({ length: count }, () => new LightViewer(options));
    for (let from = 0; from < count; from += 20)
      await Promise.all(all.slice(from, from + 20).map((viewer) => viewer.start()));
    return all;
  }

  async api(method: string, route: string, body?: object, ifMatch = ''): Promise<Response> {
    const response = await fetch(`${this.#steeringUrl}${route}`, {
      method,
      headers: {
        authorization: `Bearer ${this.live.process.adminToken}`,
        'content-type': 'application/json',
        ...(ifMatch === '' ? {} : { 'if-match': ifMatch }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${route}: ${response.status} ${await response.text()}`);
    return response;
  }

  async setWeight(name: string, weight: number): Promise<void> {
    const etag = (await this.api('GET', `/api/v1/cdns/${name}`)).headers.get('etag') ?? '';
    await this.api('PATCH', `/api/v1/cdns/${name}`, { weight, reason: 'the test' }, etag);
  }

  async snapshot(): Promise<SteeringSnapshot> {
    return (await (await this.api('GET', '/steering/v1/snapshot')).json()) as SteeringSnapshot;
  }

  async allWell(): Promise<void> {
    await waitFor(
      'all CDNs to be healthy',
      async () => {
        const { cdns } = await this.snapshot();
        return cdns.length === this.cdns.size && cdns.every(({ health }) => health === 1);
      },
      { deadlineMs: 60_000, intervalMs: 200 },
    );
  }

  async heal(name: string): Promise<void> {
    const { cache, front } = this.cdn(name);
    await cache.resume();
    await cache.start();
    await front.heal();
  }
}
