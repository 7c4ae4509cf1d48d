import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isInstalled } from '#cdn/cdn-process.ts';
import { CDN_KINDS } from '#cdn/cdn-program.ts';
import { hasLua } from '#cdn/nginx.ts';
import { freePort, startLocalCdn, type LocalCdn } from '#tests/support/local-cdn.ts';
import { ManyClients } from '#tests/support/many-clients.ts';
import { waitFor, within } from '#tests/support/wait-for.ts';

const CLIENTS = 500;
const HOLD_MS = 400;

const PLAYLIST = Buffer.from('#EXTM3U\n'.padEnd(6_000, '#'));
const PLAYLIST_GZIP = gzipSync(PLAYLIST);
const PART = Buffer.alloc(40_000, 7);

/** An origin that holds, and answers as ours does. */
function answering(hits: string[], publishedMs: (atMs: number) => void): Server {
  return createServer((request, response) => {
    const url = request.url ?? '';
    hits.push(url);
    const cors = { 'access-control-allow-origin': '*', vary: 'Accept-Encoding' };
    const path = url.split('?')[0] ?? '';
    if (path.endsWith('/missing.m4s')) {
      response.writeHead(404, { ...cors, 'cache-control': 'public, max-age=1' }).end('not yet');
      return;
    }
    if (path.endsWith('/gone.m4s')) {
      response.writeHead(404, cors).end('gone');
      return;
    }
    setTimeout(() => {
      publishedMs(performance.now());
      if (path.endsWith('/busy.m3u8')) {
        response.writeHead(503, { ...cors, 'cache-control': 'max-age=5' }).end('busy');
      } else if (path.endsWith('/interim.m3u8')) {
        response.writeHead(200, { ...cors, 'cache-control': 'no-cache' }).end(PLAYLIST);
      } else if (path.endsWith('.m4s')) {
        const headers = { ...cors, 'cache-control': 'public, max-age=86400, immutable', etag: '"part"' };
        response.writeHead(200, { ...headers, 'content-length': PART.length, 'accept-ranges': 'bytes' });
        response.end(PART);
      } else {
        const gzip = request.headers['accept-encoding']?.includes('gzip') === true;
        const maxAge = url.includes('_HLS_msn') ? 12 : 1;
        const encoding = gzip ? { 'content-encoding': 'gzip' } : {};
        const body = gzip ? PLAYLIST_GZIP : PLAYLIST;
        response.writeHead(200, { ...cors, ...encoding, 'cache-control': `public, max-age=${maxAge}` });
        response.end(body);
      }
    }, HOLD_MS);
  });
}

describe.each(CDN_KINDS)('%s as an LL-HLS cache', (kind) => {
  const skipped = !isInstalled(kind);
  const hits: string[] = [];
  const clients = new ManyClients();
  let origin: Server;
  let cdn: LocalCdn;
  let publishedMs = 0;
  let run = 0;

  beforeAll(async () => {
    if (skipped) return;
    origin = answering(hits, (atMs) => (publishedMs = atMs));
    origin.listen(0, '127.0.0.1');
    await once(origin, 'listening');
    const originUrl = `http://127.0.0.1:${(origin.address() as AddressInfo).port}`;
    cdn = await startLocalCdn(kind, { originUrl, workers: 2 });
  });
  afterAll(async () => {
    clients.close();
    await cdn?.close();
    origin?.close();
    origin?.closeAllConnections();
  });
  beforeEach((context) => {
    if (skipped) context.skip(`${kind} is not installed; ./setup.sh test installs it`);
    hits.length = 0;
    run++;
  });
  const get = (
    path: string,
    headers: Readonly<Record<string, string>> = {},
  ): ReturnType<ManyClients['get']> => clients.get(`${cdn.url}${path}`, headers);
  const all = (path: string): Promise<Awaited<ReturnType<typeof get>>[]> =>
    Promise.all(Array.from({ length: CLIENTS }, (_, index) => get(path.replace('{n}', String(index)))));

  it(`asks the origin once while ${CLIENTS} wait for one playlist, whatever else their URLs carry`, async () => {
    const name = `/live/s${run}/v/index.m3u8`;
    const answers = await all(`${name}?CMCD=sid%3D{n}&_HLS_part=1&_HLS_msn=7&sid={n}`);
    const late = answers.map(({ atMs }) => atMs - publishedMs).toSorted((a, b) => a - b);
    console.log(
      `${kind}: ${CLIENTS} waiters, ${hits.length} request, last byte after publishing: ` +
        `p50 ${late[CLIENTS / 2]?.toFixed()} ms, p99 ${late[CLIENTS * 0.99]?.toFixed()} ms`,
    );
    expect(hits).toEqual([`${name}?_HLS_msn=7&_HLS_part=1`]);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(answers.every(({ body }) => body.equals(PLAYLIST))).toBe(true);
  });

  it(`asks the origin once while ${CLIENTS} wait for one part`, async () => {
    const name = `/live/s${run}/v/7.1.m4s`;
    const answers = await all(`${name}?CMCD=sid%3D{n}`);
    expect(hits).toEqual([name]);
    expect(answers.every(({ status, body }) => status === 200 && body.equals(PART))).toBe(true);
  });

  it.each(['busy.m3u8', 'interim.m3u8'])(
    'shares %s among those who wait for it, and keeps it no longer',
    async (file) => {
      const name = `/live/s${run}/v/${file}`;
      const answers = await Promise.all(Array.from({ length: 50 }, () => get(`${name}?_HLS_msn=7`)));
      // Two workers may each ask once for what cannot be kept.
      expect(hits.length).toBeLessThanOrEqual(2);
      expect(new Set(answers.map(({ status }) => status)).size).toBe(1);
      const asked = hits.length;
      await within(
        'another request to the origin',
        3_500,
        (async () => {
          while (hits.length === asked) await get(`${name}?_HLS_msn=7`);
        })(),
      );
    },
  );

  it('keeps a 404 only where the origin gives it a lifetime', async () => {
    for (let count = 0; count < 3; count++) await get(`/live/s${run}/v/missing.m4s`);
    expect(hits.length).toBe(1);
    hits.length = 0;
    const first = await get(`/live/s${run}/v/gone.m4s`);
    await within(
      'the error to be forgotten',
      3_000,
      (async () => {
        while (hits.length < 2) await get(`/live/s${run}/v/gone.m4s`);
      })(),
    );
    expect(first).toMatchObject({ status: 404, headers: { 'access-control-allow-origin': '*' } });
  });

  it('tells how old its copy is, to pages of other sites as well', async () => {
    const path = `/live/s${run}/v/index.m3u8?_HLS_msn=1`;
    const first = await get(path);
    expect(first.headers['age'] ?? '0').toBe('0');
    await within(
      'an older copy',
      5_000,
      (async () => {
        while (Number((await get(path)).headers['age'] ?? 0) < 2)
          await new Promise((resolve) => setTimeout(resolve, 50));
      })(),
    );
    expect(hits.length).toBe(1);
    expect(first.headers['access-control-allow-origin']).toBe('*');
    expect(first.headers['access-control-expose-headers']).toContain('Age');
  });

  it('asks again when the lifetime is over', async () => {
    const path = `/live/s${run}/v/index.m3u8`;
    await get(path);
    await within(
      'a second request to the origin',
      4_000,
      (async () => {
        while (hits.length < 2) await get(path);
      })(),
    );
    expect(new Set(hits)).toEqual(new Set([path]));
  });

  it('gives gzip and plain from one copy', async () => {
    const path = `/live/s${run}/v/index.m3u8?_HLS_msn=1`;
    await get(path, { 'accept-encoding': 'gzip' });
    const plain = await get(path);
    expect(plain.headers['content-encoding']).toBeUndefined();
    expect(plain.body.equals(PLAYLIST)).toBe(true);
    expect(hits.length).toBe(1);
  });

  it('gives ranges of what it keeps', async () => {
    const path = `/live/s${run}/v/7.m4s`;
    await get(path);
    const range = await get(path, { range: 'bytes=10-19' });
    expect(range.status).toBe(206);
    expect(range.body.length).toBe(10);
    expect(hits.length).toBe(1);
  });

  it('passes access tokens on that it does not check, and shares nothing between them', async () => {
    const path = `/live/s${run}/v/7.2.m4s`;
    await get(`/t/one-token${path}?CMCD=1`);
    await get(`/t/another${path}`);
    await get(`/t/another${path}?CMCD=2`);
    expect(hits).toEqual([`/t/one-token${path}`, `/t/another${path}`]);
  });

  it('lets nobody through to what is not played', async () => {
    for (const path of [
      '/api/v1/streams',
      '/ingest/v1/sessions',
      '/metrics',
      '/',
      '/fetch/live/a',
      '/live/../api',
    ])
      expect((await get(path)).status).toBeGreaterThanOrEqual(400);
    expect(hits).toEqual([]);
  });

  it('hangs while paused, refuses when killed, and comes back on its port', async () => {
    const alone = new ManyClients();
    const alive = (): Promise<number> =>
      alone.get(`${cdn.url}/cdn-alive`, {}, 300).then(({ status }) => status);
    await cdn.pause();
    await waitFor('it to hang', () =>
      alive().then(
        () => false,
        (error: Error) => /abort/.test(error.message),
      ),
    );
    await cdn.resume();
    await cdn.kill();
    await expect(alive()).rejects.toThrow(/ECONNREFUSED|ECONNRESET|hang up/);
    await cdn.start();
    expect(await alive()).toBeLessThan(500);
    alone.close();
  });
});

describe.each(['nginx', 'varnish'] as const)('%s with two origins', (kind) => {
  it.skipIf(!isInstalled(kind))(
    'asks the second while the first is away, and the first when it is back',
    async () => {
      const listen = async (name: string, port: number): Promise<Server> => {
        const server = createServer((_, response) => {
          response.writeHead(200, { 'cache-control': 'no-cache' }).end(name);
        });
        server.listen(port, '127.0.0.1');
        await once(server, 'listening');
        return server;
      };
      const second = await listen('second', 0);
      const port = await freePort();
      const cdn = await startLocalCdn(kind, {
        originUrl: `http://127.0.0.1:${port}`,
        otherOriginUrls: [`http://127.0.0.1:${(second.address() as AddressInfo).port}`],
      });
      const clients = new ManyClients();
      let asked = 0;
      const answered = (name: string): Promise<true> =>
        waitFor(`an answer of the ${name}`, async () => {
          const { body } = await clients.get(`${cdn.url}/live/s/v/${asked++}.m4s`);
          return body.toString() === name;
        });
      let first: Server | undefined;
      try {
        await answered('second');
        first = await listen('first', port);
        await answered('first');
        first.close();
        first.closeAllConnections();
        await answered('second');
        expect(asked).toBeGreaterThan(2);
      } finally {
        clients.close();
        await cdn.close();
        for (const server of [first, second]) {
          server?.closeAllConnections();
          server?.close();
        }
      }
    },
  );
});

describe.skipIf(!isInstalled('nginx'))('nginx', () => {
  it('freezes when it is set up like a cache that does not know LL-HLS', async () => {
    const hits: string[] = [];
    const origin = createServer((request, response) => {
      hits.push(request.url ?? '');
      response.writeHead(200, { 'cache-control': 'max-age=1' }).end(`version ${hits.length}`);
    });
    origin.listen(0, '127.0.0.1');
    await once(origin, 'listening');
    const originUrl = `http://127.0.0.1:${(origin.address() as AddressInfo).port}`;
    const frozen = await startLocalCdn('nginx', { originUrl, frozen: true });
    const clients = new ManyClients();
    const first = await clients.get(`${frozen.url}/live/c/v/index.m3u8`);
    const later = await clients.get(`${frozen.url}/live/c/v/index.m3u8?_HLS_msn=9`);
    expect(later.body.toString()).toBe(first.body.toString());
    clients.close();
    await frozen.close();
    origin.closeAllConnections();
    origin.close();
  });

  it('asks the origin about access tokens when it has a pull token, and shares one copy among those let in', async (context) => {
    if (!hasLua()) context.skip('libnginx-mod-http-lua is not installed; ./setup.sh test installs it');
    const hits: string[] = [];
    const origin = createServer((request, response) => {
      const url = request.url ?? '';
      hits.push(`${url} ${request.headers.authorization ?? ''}`);
      if (url.endsWith('/access')) response.writeHead(url.startsWith('/t/good') ? 204 : 401).end();
      else response.writeHead(200, { 'cache-control': 'max-age=60' }).end('media');
    });
    origin.listen(0, '127.0.0.1');
    await once(origin, 'listening');
    const originUrl = `http://127.0.0.1:${(origin.address() as AddressInfo).port}`;
    const cdn = await startLocalCdn('nginx', { originUrl, pullToken: 'the-pull-token' });
    const clients = new ManyClients();
    const status = async (path: string): Promise<number> => (await clients.get(`${cdn.url}${path}`)).status;
    try {
      const path = '/live/s/v/1.m4s';
      const wanted = ['/t/good-1', '/t/good-2', '/t/bad', ''].flatMap((pass) =>
        Array.from({ length: 20 }, () => pass),
      );
      const statuses = await Promise.all(wanted.map((pass) => status(`${pass}${path}`)));
      expect(new Set(statuses.slice(0, 40))).toEqual(new Set([200]));
      expect(new Set(statuses.slice(40))).toEqual(new Set([401]));
      expect(hits.toSorted((a, b) => a.localeCompare(b))).toEqual([
        '/live/s/access ',
        `${path} Bearer the-pull-token`,
        '/t/bad/live/s/access ',
        '/t/good-1/live/s/access ',
        '/t/good-2/live/s/access ',
      ]);
      expect(await status(`/t/bad${path}`)).toBe(401);
      expect(await status('/live/s/access')).toBeGreaterThanOrEqual(400);
    } finally {
      clients.close();
      await cdn.close();
      origin.closeAllConnections();
      origin.close();
    }
  });
});
