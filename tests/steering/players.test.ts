import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '#bench/browser/chromium.ts';
import type { SteeringSnapshot } from '#protocol/steering/steering-snapshot.ts';
import { startFaultProxy, type FaultProxy } from '#tests/support/fault-proxy.ts';
import { startFaultyCdn, type FaultyCdn } from '#tests/support/faulty-cdn.ts';
import { startLiveSystem, waitForPlaylist, type LiveSystem } from '#tests/support/live-system.ts';
import { startLocalCdn, type LocalCdn } from '#tests/support/local-cdn.ts';
import {
  PLAYERS,
  startSteeredPlayers,
  type PlayerName,
  type SteeredPlayer,
  type SteeredPlayers,
} from '#tests/support/steered-players.ts';
import { hasNoPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

/** A real cache in front of the origin, and on the way to it what can be broken: TCP first, then HTTP. */
type Cdn = {
  readonly cache: LocalCdn;
  readonly http: FaultyCdn;
  readonly tcp: FaultProxy;
};

/** The mean TTL of both rhythms; with the jitter a player asks again after 7 s at the latest. */
const TTL_S = 5;
const TTL_MAX_MS = 7_000;
/** From the fault to the changed answer, with room for a busy machine. */
const DETECTION_DEADLINE_MS = 10_000;
/** After the changed answer: until a player hears it, and until what it is loading has come or failed. */
const LEAVE_DEADLINE_MS = TTL_MAX_MS + 12_000;
/** A player has left a CDN when it loads, but nothing from there for so long: what was on its way still comes. */
const SETTLED_MS = 2_500;
/** The weight's promise: no load from a drained CDN begins later than a TTL and this after the change. */
const DRAIN_MARGIN_MS = 1_000;
const DRAIN_DEADLINE_MS = TTL_MAX_MS + DRAIN_MARGIN_MS + SETTLED_MS + 1_000;
/** At the live edge is a player that aims for less than this: it plays parts, not segments. */
const EDGE_MAX_S = 3;
/** More is a stall: the buffer has run empty, and not only the machine been busy. */
const STANDSTILL_MAX_MS = 1_000;

describe.skipIf(hasNoPostgres)('players in Chromium, steered over nginx and Varnish', () => {
  let live: LiveSystem;
  let browser: Browser;
  let players: SteeredPlayers;
  let steeringUrl: string;
  const cdns = new Map<string, Cdn>();

  const api = async (method: string, route: string, body?: object, ifMatch = ''): Promise<Response> => {
    const response = await fetch(`${steeringUrl}${route}`, {
      method,
      headers: {
        authorization: `Bearer ${live.process.adminToken}`,
        'content-type': 'application/json',
        ...(ifMatch === '' ? {} : { 'if-match': ifMatch }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${route}: ${response.status} ${await response.text()}`);
    return response;
  };
  const setWeight = async (name: string, weight: number): Promise<void> => {
    const etag = (await api('GET', `/api/v1/cdns/${name}`)).headers.get('etag') ?? '';
    await api('PATCH', `/api/v1/cdns/${name}`, { weight, reason: 'the test' }, etag);
  };
  const allWell = (): Promise<true> =>
    waitFor(
      'all CDNs to be healthy',
      async () => {
        const snapshot = (await (await api('GET', '/steering/v1/snapshot')).json()) as SteeringSnapshot;
        return snapshot.cdns.length === 3 && snapshot.cdns.every(({ health }) => health === 1);
      },
      { deadlineMs: 30_000, intervalMs: 200 },
    );
  const heal = async (name: string): Promise<void> => {
    const cdn = cdns.get(name);
    if (cdn === undefined) return;
    cdn.http.fault = { kind: 'none' };
    await cdn.cache.resume();
    await cdn.cache.start();
    await cdn.tcp.heal();
  };
  /** Waits until the player loads from other CDNs only. */
  const leaves = async (player: SteeredPlayer, name: string, deadlineMs: number): Promise<void> => {
    try {
      await waitFor(
        `${player.name} to leave ${name}`,
        () => {
          const last = player.loads.findLastIndex(({ cdn }) => cdn === name);
          const quietMs = performance.now() - (player.loads[last]?.atMs ?? 0);
          return quietMs > SETTLED_MS && last < player.loads.length - 1;
        },
        { deadlineMs },
      );
    } catch (error) {
      throw new Error(`${player.name}: ${(await player.errors()).slice(-10).join(', ')}`, { cause: error });
    }
  };
  const goesOn = async (player: SteeredPlayer): Promise<void> => {
    const { timeS } = await player.progress();
    await waitFor(
      `${player.name} to play on from ${timeS.toFixed(1)} s`,
      async () => (await player.progress()).timeS >= timeS + 2,
      { deadlineMs: 15_000, intervalMs: 100 },
    );
  };
  /** Plays one session in these players, all on the CDN that steering names first, and closes them in the end. */
  const watching = async (
    session: string,
    names: readonly PlayerName[],
    watch: (open: readonly SteeredPlayer[], first: string) => Promise<void>,
  ): Promise<void> => {
    await allWell();
    const [first = ''] = await players.orderOf(session);
    const open: SteeredPlayer[] = [];
    try {
      for (const name of names) open.push(await players.open(browser, name, session));
      for (const { loads } of open) expect(new Set(loads.map(({ cdn }) => cdn))).toEqual(new Set([first]));
      await watch(open, first);
      for (const { steeringStatuses } of open) {
        expect(steeringStatuses.length).toBeGreaterThan(0);
        expect(steeringStatuses.filter((status) => status !== 200)).toEqual([]);
      }
    } finally {
      await Promise.all(open.map((player) => player.close()));
      await heal(first);
    }
  };

  beforeAll(async () => {
    live = await startLiveSystem({
      STEERING_TTL_S: String(TTL_S),
      STEERING_TTL_EVENT_S: String(TTL_S),
      STEERING_PROBE_ALLOWED_TARGETS: '127.0.0.1',
      STEERING_HEALTH_EJECTION_MS: '1000',
      STEERING_HEALTH_EJECTION_MAX_MS: '1000',
      STEERING_HEALTH_RAMP_PERCENT: '50',
      STEERING_HEALTH_RAMP_STEP_MS: '1000',
    });
    steeringUrl = /CDN console +(http:\/\/\S+)\/console\//.exec(live.process.output())?.[1] ?? '';
    const stream = await live.api.create({
      ladder: { rungs: [{ height: 180, bitrateBps: 300_000 }], preset: 'ultrafast' },
    });
    const { playlists } = await live.goLive(stream, { width: 320, height: 180, videoBitrate: '400k' });
    const originUrl = live.process.originUrl;
    for (const [name, kind] of [
      ['north', 'nginx'],
      ['south', 'varnish'],
      ['west', 'nginx'],
    ] as const) {
      const cache = await startLocalCdn(kind, { originUrl });
      const http = await startFaultyCdn(cache.url);
      const tcp = await startFaultProxy(http.port);
      cdns.set(name, { cache, http, tcp });
      await api('POST', '/api/v1/cdns', { name, baseUrl: tcp.url, reason: 'the test begins' });
    }
    players = await startSteeredPlayers({
      edgeUrl: live.process.edgeUrl,
      steeringUrl,
      streamId: stream.id,
      // Each has a host of its own, as in life: Shaka bans hosts, whatever their port.
      cdns: new Map([...cdns].map(([name, { tcp }]) => [name, `http://${name}.localhost:${tcp.port}`])),
    });
    browser = await launchChromium();
    // Starting in the first seconds of a broadcast is another matter than steering.
    await waitForPlaylist(
      'a window of some segments',
      playlists[0] ?? '',
      ({ segments }) => segments.length >= 6,
      30_000,
    );
  }, 90_000);
  afterAll(async () => {
    await browser?.close();
    await players?.close();
    for (const { cache, http, tcp } of cdns.values()) {
      await tcp.close();
      await http.close();
      await cache.close();
    }
    await live?.close();
  });

  it('begin on the pathway that steering names first, wherever it is listed', async () => {
    const sessions = Array.from({ length: 40 }, (_, index) => `first-${index}`);
    for (const session of sessions) {
      const [first] = await players.orderOf(session);
      if (first === [...cdns.keys()][0]) continue;
      await watching(session, PLAYERS, async (open) => {
        await Promise.all(open.map(goesOn));
        for (const { loads } of open) expect(new Set(loads.map(({ cdn }) => cdn))).toEqual(new Set([first]));
      });
      return;
    }
    throw new Error('steering named the same CDN first 40 times');
  });

  it('leave a CDN whose weight ops set to 0 within a TTL, without a stall', async () => {
    await watching('drained', PLAYERS, async (open, first) => {
      await Promise.all(open.map((player) => player.progress()));
      await setWeight(first, 0);
      const drainedAtMs = performance.now();
      try {
        for (const player of open) {
          await leaves(player, first, DRAIN_DEADLINE_MS);
          const lastMs = player.loads.findLast(({ cdn }) => cdn === first)?.atMs ?? 0;
          expect(lastMs - drainedAtMs).toBeLessThan(TTL_MAX_MS + DRAIN_MARGIN_MS);
          const { standstillMs } = await player.progress();
          expect(standstillMs).toBeLessThan(STANDSTILL_MAX_MS);
        }
        await Promise.all(open.map(goesOn));
      } finally {
        await setWeight(first, 100);
      }
    });
  });

  /** The process, and the address that it listened on. */
  const kill = async ({ cache, tcp }: Cdn): Promise<void> => {
    await Promise.all([cache.kill(), tcp.refuse()]);
  };
  const FAULTS: readonly {
    readonly fault: string;
    readonly names: readonly PlayerName[];
    readonly begin: (cdn: Cdn) => void | Promise<void>;
    /** Whether the picture must not stand still meanwhile. */
    readonly noStall?: true;
  }[] = [
    { fault: 'is killed', names: ['hls.js'], begin: kill },
    { fault: 'is killed', names: ['shaka-player'], begin: kill },
    {
      fault: 'has playlists that stand still',
      names: ['hls.js'],
      begin: ({ http }) => void (http.fault = { kind: 'frozen' }),
    },
    { fault: 'hangs', names: ['hls.js'], begin: ({ cache }) => cache.pause() },
    {
      fault: 'is slow',
      names: ['hls.js'],
      begin: ({ tcp }) => tcp.set({ down: { bytesPerSecond: 16_000 } }),
    },
    {
      fault: 'answers 404',
      names: ['hls.js'],
      begin: ({ http }) => void (http.fault = { kind: 'status', status: 404 }),
    },
    { fault: 'is killed at the live edge', names: ['hls.js-default'], begin: kill, noStall: true },
    {
      fault: 'answers 404 at the live edge',
      names: ['hls.js-default'],
      begin: ({ http }) => void (http.fault = { kind: 'status', status: 404 }),
      noStall: true,
    },
    {
      fault: 'answers 503',
      names: ['hls.js'],
      begin: ({ http }) => void (http.fault = { kind: 'status', status: 503 }),
    },
  ];
  it.each(FAULTS)(
    'leave a CDN that $fault, and play on ($names)',
    async ({ fault, names, begin, noStall }) => {
      const session = `${names.join('-')}-${fault}`.replaceAll(/\W/g, '-');
      await watching(session, names, async (open, first) => {
        const cdn = cdns.get(first);
        if (cdn === undefined) throw new Error(`there is no CDN ${first}`);
        await Promise.all(open.map((player) => player.progress()));
        await begin(cdn);
        await waitFor(
          `steering to put another CDN before ${first}`,
          async () => (await players.orderNow(session))[0] !== first,
          { deadlineMs: DETECTION_DEADLINE_MS, intervalMs: 100 },
        );
        for (const player of open) {
          await leaves(player, first, LEAVE_DEADLINE_MS);
          const { standstillMs, targetLatencyS } = await player.progress();
          expect(standstillMs).toBeLessThan(noStall === true ? STANDSTILL_MAX_MS : Infinity);
          expect(targetLatencyS ?? 0).toBeLessThan(noStall === true ? EDGE_MAX_S : Infinity);
          await goesOn(player);
          expect(player.loads.at(-1)?.cdn).not.toBe(first);
        }
      });
    },
  );
});
