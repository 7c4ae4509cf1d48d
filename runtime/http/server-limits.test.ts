import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { HttpMetrics } from '#runtime/http/http-metrics.ts';
import {
  listen,
  URL_CHARS_MAX,
  type HttpListenOptions,
  type RunningHttpServer,
} from '#runtime/http/server.ts';
import { SlowReaders } from '#runtime/http/slow-readers.ts';
import { createMetrics } from '#runtime/metrics.ts';
import type { ServerResponse } from 'node:http';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function serve(options: Partial<HttpListenOptions> = {}) {
  const registry = createMetrics('test');
  const metrics = new HttpMetrics(registry);
  const server: RunningHttpServer = await listen(() => new Response('hello'), {
    port: 0,
    host: '127.0.0.1',
    metrics,
    ...options,
  });
  cleanups.push(() => server.close(0));
  return { server, registry, metrics };
}

function open(server: RunningHttpServer): Socket {
  const socket = connect(server.port, '127.0.0.1').on('error', () => undefined);
  cleanups.push(() => socket.destroy());
  return socket;
}

async function exchange(server: RunningHttpServer, request: string): Promise<string> {
  const socket = open(server);
  socket.write(request);
  return Buffer.concat(await socket.toArray()).toString();
}

const isOpen = async (socket: Socket): Promise<boolean> => {
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
  const [data] = (await Promise.race([once(socket, 'data'), once(socket, 'close').then(() => [])])) as [
    Buffer?,
  ];
  return data?.toString().startsWith('HTTP/1.1 200') === true;
};

describe('connections', () => {
  it('of one address are bounded, and one that is closed makes room', async () => {
    const { server, metrics } = await serve({ addressConnectionsMax: 2 });
    const [first, second] = [open(server), open(server)];
    expect([await isOpen(first), await isOpen(second)]).toEqual([true, true]);
    expect(await isOpen(open(server))).toBe(false);
    expect((await metrics.refused.get()).values).toEqual([
      expect.objectContaining({ labels: { reason: 'address' }, value: 1 }),
    ]);
    first.destroy();
    await vi.waitFor(async () => expect((await metrics.connections.get()).values[0]?.value).toBe(1));
    expect(await isOpen(open(server))).toBe(true);
  });

  it('in all are bounded', async () => {
    const { server, metrics } = await serve({ connectionsMax: 1 });
    expect(await isOpen(open(server))).toBe(true);
    expect(await isOpen(open(server))).toBe(false);
    await vi.waitFor(async () =>
      expect((await metrics.refused.get()).values).toEqual([
        expect.objectContaining({ labels: { reason: 'all' }, value: 1 }),
      ]),
    );
  });
});

describe('what is no request', () => {
  it.each([
    ['garbage', '\x16\x03\x01\x02\x00\x01\r\n\r\n', 400, 'request_malformed'],
    ['a NUL in the path', 'GET /a\0b HTTP/1.1\r\nhost: x\r\n\r\n', 400, 'request_malformed'],
    ['no host', 'GET / HTTP/1.1\r\n\r\n', 400, undefined],
    [
      'two lengths',
      'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx',
      400,
      'request_malformed',
    ],
    [
      'length and chunks',
      'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
      'request_malformed',
    ],
    [
      '20 KB of headers',
      `GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`,
      431,
      'headers_too_large',
    ],
    [
      'a long URL',
      `GET /?${'y'.repeat(URL_CHARS_MAX)} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`,
      414,
      'url_too_long',
    ],
  ])('%s is answered %3$i and counted', async (_, request, status, code) => {
    const { server, metrics } = await serve();
    const answer = await exchange(server, request);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    if (code === undefined) return;
    expect(answer).toContain('application/problem+json');
    expect(answer).toContain(`"code":"${code}"`);
    expect((await metrics.clientErrors.get()).values).toEqual([
      expect.objectContaining({ labels: { code }, value: 1 }),
    ]);
  });

  it('has so much time to arrive and no more: one line after the other without an end is 408', async () => {
    const { server, metrics } = await serve({ headersTimeoutMs: 200, requestTimeoutMs: 400 });
    const socket = open(server);
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n');
    const drip = setInterval(() => socket.write('x: y\r\n'), 20);
    const answer = Buffer.concat(await socket.toArray()).toString();
    clearInterval(drip);
    expect(answer).toMatch(/^HTTP\/1\.1 408 [^]*"code":"request_timeout"/);
    expect((await metrics.clientErrors.get()).values[0]?.labels).toEqual({ code: 'request_timeout' });
  });
});

describe('slow readers', () => {
  const BYTES = 32 * 1024 * 1024;

  async function serveMuch() {
    const clock = new FakeClock();
    const metrics = new HttpMetrics(createMetrics('test'));
    const slow = new SlowReaders({ bytesPerSecondMin: 1024 * 1024, graceMs: 1_000 }, { clock, metrics });
    const body = new Uint8Array(BYTES);
    const server = await listen(() => new Response(null), {
      port: 0,
      host: '127.0.0.1',
      first: (_, outgoing) => {
        (outgoing as ServerResponse).end(body);
        slow.watch(outgoing, body.length);
        return true;
      },
    });
    cleanups.push(() => server.close(0));
    const closed = async (): Promise<number | undefined> =>
      (await metrics.slowReaders.get()).values[0]?.value;
    return { clock, slow, server, closed };
  }

  it('lose their connection when they are slower than they may be', async () => {
    const { clock, slow, server, closed } = await serveMuch();
    const socket = open(server);
    socket.pause();
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await vi.waitFor(() => expect(slow.count).toBe(1));
    clock.advance(32_000);
    expect(await closed()).toBe(0);
    clock.advance(2_000);
    expect([await closed(), slow.count, clock.pendingCount]).toEqual([1, 0, 0]);
    socket.resume();
    await once(socket, 'close');
    expect(socket.bytesRead).toBeLessThan(BYTES);
  });

  it('are not those who take everything', async () => {
    const { clock, slow, server, closed } = await serveMuch();
    expect((await (await fetch(server.url)).bytes()).length).toBe(BYTES);
    await vi.waitFor(() => expect(slow.count).toBe(0));
    clock.advance(60_000);
    expect(await closed()).toBe(0);
    expect(clock.pendingCount).toBe(0);
  });
});
