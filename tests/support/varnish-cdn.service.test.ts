import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startVarnishCdn, type VarnishCdn } from './varnish-cdn.ts';
import { within } from './wait-for.ts';

describe('Varnish as an LL-HLS cache', () => {
  let origin: Server;
  let cdn: VarnishCdn;
  let hits: string[] = [];
  let version = 0;

  beforeAll(async () => {
    origin = createServer((request, response) => {
      hits.push(request.url ?? '');
      if (request.url?.startsWith('/missing') === true) {
        response.writeHead(404, { 'cache-control': 'public, max-age=1' }).end('not yet');
        return;
      }
      setTimeout(() => {
        response.writeHead(200, { 'cache-control': 'max-age=12' }).end(`version ${version}`);
      }, 150);
    });
    origin.listen(0, '127.0.0.1');
    await once(origin, 'listening');
    cdn = await startVarnishCdn({ originUrl: `http://127.0.0.1:${(origin.address() as AddressInfo).port}` });
  });
  afterAll(async () => {
    await cdn.close();
    origin.close();
    origin.closeAllConnections();
  });
  beforeEach(() => {
    hits = [];
    version++;
  });
  const get = async (path: string): Promise<string> => (await fetch(`${cdn.url}${path}`)).text();

  it('asks the origin once for many waiters of one part', async () => {
    const path = `/live/a/index.m3u8?_HLS_msn=${version}&_HLS_part=1`;
    const answers = await Promise.all(Array.from({ length: 20 }, () => get(path)));
    expect(new Set(answers)).toEqual(new Set([`version ${version}`]));
    expect(hits).toEqual([path]);
  });

  it('keeps delivery directives apart and leaves other parameters out of the key', async () => {
    await get(`/live/b/${version}.m3u8?CMCD=a&_HLS_msn=7&_HLS_part=1`);
    await get(`/live/b/${version}.m3u8?_HLS_msn=7&sid=x&_HLS_part=1&CMCD=b`);
    await get(`/live/b/${version}.m3u8?_HLS_msn=7&_HLS_part=2&CMCD=b`);
    await get(`/live/b/${version}.m3u8?CMCD=b`);
    await get(`/live/b/${version}.m3u8`);
    expect(hits).toEqual([
      `/live/b/${version}.m3u8?_HLS_msn=7&_HLS_part=1`,
      `/live/b/${version}.m3u8?_HLS_msn=7&_HLS_part=2`,
      `/live/b/${version}.m3u8`,
    ]);
  });

  it('does not keep errors', async () => {
    await get('/missing/part.m4s');
    await get('/missing/part.m4s');
    expect(hits.length).toBe(2);
  });

  it('hangs while paused, refuses when killed, and comes back on its port', async () => {
    await cdn.pause();
    await expect(within('an answer', 300, get('/varnish-alive'))).rejects.toThrow('an answer');
    await cdn.resume();
    await get('/varnish-alive');
    await cdn.kill();
    await expect(get('/varnish-alive')).rejects.toThrow('fetch failed');
    await cdn.start();
    await get('/varnish-alive');
  });
});
