import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '#bench/browser/chromium.ts';
import { isInstalled } from '#cdn/cdn-process.ts';
import { openPage, playbackProgress, type ProbedPage } from '#tests/support/chromium.ts';
import { startLiveSystem, type LiveSystem } from '#tests/support/live-system.ts';
import { hasNoPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

describe.skipIf(hasNoPostgres || !isInstalled('nginx'))('the CDNs of npm start', () => {
  let live: LiveSystem;
  let browser: Browser;
  let steeringUrl: string;
  /** Ports of the CDNs by their names. */
  let ports: ReadonlyMap<string, string>;

  const api = async (method: string, route: string, body?: object, etag = ''): Promise<Response> => {
    const response = await fetch(`${steeringUrl}${route}`, {
      method,
      headers: {
        authorization: `Bearer ${live.process.adminToken}`,
        'content-type': 'application/json',
        ...(etag === '' ? {} : { 'if-match': etag }),
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
  /** Names of the CDNs that a page loads parts from, newest last. */
  const watchLoads = (page: ProbedPage): string[] => {
    const loads: string[] = [];
    page.page.on('response', (response) => {
      const { port, pathname } = new URL(response.url());
      const name = [...ports].find(([, known]) => known === port)?.[0];
      if (pathname.endsWith('.m4s') && response.status() === 200) loads.push(name ?? `port ${port}`);
    });
    return loads;
  };

  beforeAll(async () => {
    live = await startLiveSystem({ LOCAL_CDNS: 'auto', STEERING_TTL_S: '5', STEERING_TTL_EVENT_S: '5' });
    steeringUrl = /CDN console +(http:\/\/\S+)\/console\//.exec(live.process.output())?.[1] ?? '';
    const { cdns } = (await (await api('GET', '/api/v1/cdns')).json()) as {
      cdns: { name: string; baseUrl: string }[];
    };
    ports = new Map(cdns.map(({ name, baseUrl }) => [name, new URL(baseUrl).port]));
    browser = await launchChromium();
  }, 90_000);
  afterAll(async () => {
    await browser?.close();
    await live?.close();
  });

  const goLive = async (): Promise<string> => {
    const stream = await live.api.create({
      ladder: { rungs: [{ height: 180, bitrateBps: 300_000 }], preset: 'ultrafast' },
    });
    await live.goLive(stream, { width: 320, height: 180, videoBitrate: '400k' });
    return stream.id;
  };

  it('are what the player page plays from, and what ops move it between', async () => {
    const id = await goLive();
    const page = await openPage(browser, `${live.process.originUrl}/watch/${id}`);
    try {
      const loads = watchLoads(page);
      await waitFor('parts from a local CDN', () => ports.has(loads.at(-1) ?? ''), { deadlineMs: 30_000 });
      const first = loads.at(-1) ?? '';
      const [other = ''] = [...ports.keys()].filter((name) => name !== first);
      await setWeight(first, 0);
      await waitFor('parts from the other', () => loads.slice(-6).every((name) => name === other), {
        deadlineMs: 30_000,
      });
      const { currentTimeS } = await playbackProgress(page.page);
      await waitFor('the page to play on', async () => {
        return (await playbackProgress(page.page)).currentTimeS > currentTimeS + 1;
      });
      expect(new Set(loads.slice(-6))).toEqual(new Set([other]));
    } finally {
      await page.close();
    }
  });

  it('ask for the token of a protected stream', async () => {
    const id = await goLive();
    const change = async (method: string, route: string, body: object): Promise<unknown> => {
      const answer = await fetch(`${live.process.originUrl}/api/v1/streams/${id}${route}`, {
        method,
        headers: { authorization: `Bearer ${live.process.adminToken}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      return answer.json();
    };
    await change('PATCH', '', { access: 'token' });
    const { playback } = (await change('POST', '/tokens', {})) as { playback: { hls: string } };
    const { pathname } = new URL(playback.hls, live.process.originUrl);
    for (const port of ports.values()) {
      const status = async (path: string): Promise<number> =>
        (await fetch(`http://127.0.0.1:${port}${path}`)).status;
      expect(await status(pathname)).toBe(200);
      // What it knew of the stream when it was public holds for 10 s.
      await waitFor(
        'nobody to get in without',
        async () => {
          return (await status(`/live/${id}/master.m3u8`)) === 401;
        },
        { deadlineMs: 15_000 },
      );
    }
  });
});
