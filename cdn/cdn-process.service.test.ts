import { createServer } from 'node:http';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CdnStartError, installedKinds, prepareCdn, runCdn, startCdn } from '#cdn/cdn-process.ts';
import { freePort } from '#tests/support/local-cdn.ts';

describe.each(installedKinds())('starting %s', (kind) => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cdn-start-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('says why it cannot start, and leaves nothing running', async () => {
    const taken = createServer();
    taken.listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    taken.on('request', (_, response) => response.writeHead(503).end());
    const options = { originUrls: ['http://127.0.0.1:9'], host: '127.0.0.1', port, folder };
    await expect(startCdn(kind, options)).rejects.toThrow(/in use|bind/i);
    taken.closeAllConnections();
    taken.close();
  });

  it('refuses what is not installed', async () => {
    const options = { originUrls: ['http://127.0.0.1:9'], host: '127.0.0.1', port: await freePort(), folder };
    const command = await prepareCdn(kind, options);
    const missing = runCdn(kind, options, { ...command, file: 'no-such-program' });
    await expect(missing).rejects.toBeInstanceOf(CdnStartError);
  });

  it('keeps nothing over a start: a stream may have been made anew', async () => {
    let made = 0;
    const origin = createServer((_, response) => {
      response.writeHead(200, { 'cache-control': 'max-age=600' }).end(`version ${++made}`);
    });
    origin.listen(0, '127.0.0.1');
    await once(origin, 'listening');
    const originUrl = `http://127.0.0.1:${(origin.address() as AddressInfo).port}`;
    const options = { originUrls: [originUrl], host: '127.0.0.1', port: await freePort(), folder };
    const asked: string[] = [];
    for (let start = 0; start < 2; start++) {
      const cdn = await startCdn(kind, options);
      for (let count = 0; count < 2; count++)
        asked.push(await (await fetch(`${cdn.url}/live/a/v/init-1.mp4`)).text());
      await cdn.close();
    }
    expect(asked).toEqual(['version 1', 'version 1', 'version 2', 'version 2']);
    origin.closeAllConnections();
    origin.close();
  });

  it('ends when it is closed, once', async () => {
    const options = { originUrls: ['http://127.0.0.1:9'], host: '127.0.0.1', port: await freePort(), folder };
    const cdn = await startCdn(kind, options);
    // Nobody is behind it: an answer of its own.
    const answer = await fetch(`${cdn.url}/live/a/v/index.m3u8`);
    expect(answer.status).toBeGreaterThanOrEqual(500);
    expect(answer.headers.get('access-control-allow-origin')).toBe('*');
    await cdn.close();
    await cdn.close();
    await cdn.ended;
    await expect(fetch(cdn.url)).rejects.toThrow('fetch failed');
  });
});
