import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { HttpMetrics } from '#runtime/http/http-metrics.ts';
import type { PlainAnswer, PlainClient, PlainHandler } from '#runtime/http/plain-connections.ts';
import { listen, type HttpListenOptions, type RunningHttpServer } from '#runtime/http/server.ts';
import { SlowReaders } from '#runtime/http/slow-readers.ts';
import { createMetrics } from '#runtime/metrics.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const answerOf = (text: string): PlainAnswer => ({
  status: 200,
  headers: { 'content-type': 'text/plain', 'content-length': String(text.length) },
  body: new TextEncoder().encode(text),
});

/** `/plain/…` is answered with its URL, `/held` when it is released; everything else is for the fetch handler. */
async function serve(options: Partial<HttpListenOptions> = {}, plain: object = {}) {
  const held: { client: PlainClient; release: (answer: PlainAnswer | undefined) => void }[] = [];
  const handler: PlainHandler = ({ url }, client) => {
    if (url.startsWith('/plain')) return Promise.resolve(answerOf(`plain ${url}`));
    if (url !== '/held') return undefined;
    return new Promise((release) => held.push({ client, release }));
  };
  const server = await listen(
    async (request) => new Response(`fetch ${new URL(request.url).pathname} ${await request.text()}`),
    { port: 0, host: '127.0.0.1', plain: { handler, ...plain }, ...options },
  );
  cleanups.push(() => server.close(0));
  return { server, held };
}

function open(server: RunningHttpServer): Socket {
  const socket = connect(server.port, '127.0.0.1').on('error', () => undefined);
  cleanups.push(() => socket.destroy());
  return socket;
}

/** Everything that comes until so many answers are whole. */
async function answers(socket: Socket, count: number): Promise<string[]> {
  const found: string[] = [];
  let text = '';
  while (found.length < count) {
    const [data] = (await once(socket, 'data')) as [Buffer];
    text += data.toString('latin1');
    for (;;) {
      const head = text.indexOf('\r\n\r\n');
      const length = /\r\ncontent-length: (\d+)/i.exec(text)?.[1];
      const end = head + 4 + Number(length ?? 0);
      if (head < 0 || text.length < end) break;
      found.push(text.slice(head + 4, end));
      text = text.slice(end);
    }
  }
  return found;
}

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`;

describe('plain connections', () => {
  it('answer one request after the other', async () => {
    const { server } = await serve();
    const socket = open(server);
    for (const path of ['/plain/1', '/plain/2']) {
      socket.write(get(path));
      expect(await answers(socket, 1)).toEqual([`plain ${path}`]);
    }
  });

  it('answer with a date, and HEAD without the body', async () => {
    const { server } = await serve();
    const socket = open(server);
    socket.write(get('/plain').replace('GET', 'HEAD'));
    const [data] = (await once(socket, 'data')) as [Buffer];
    const text = data.toString();
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\r\ncontent-length: 12\r\n[^]*\r\n\r\n$/);
    const date = /\r\ndate: ([^\r]+)/.exec(text)?.[1] ?? '';
    expect(Math.abs(Date.parse(date) - Date.now())).toBeLessThan(5_000);
  });

  it('go over to Node with what is not plain, and stay there', async () => {
    const { server } = await serve();
    const socket = open(server);
    socket.write(get('/plain/1'));
    expect(await answers(socket, 1)).toEqual(['plain /plain/1']);
    socket.write('POST /other HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbo');
    setImmediate(() => socket.write('dy'));
    expect(await answers(socket, 1)).toEqual(['fetch /other body']);
    socket.write(get('/plain/2'));
    expect(await answers(socket, 1)).toEqual(['fetch /plain/2 ']);
  });

  it('give the same to the same bytes, in whatever pieces they come', async () => {
    const { server } = await serve();
    const bytes = get('/plain/1') + get('/other') + get('/plain/3');
    const seed = Number(process.env['FAST_CHECK_SEED'] ?? 20_261_122);
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(fc.nat(bytes.length), { maxLength: 4 }), async (cuts) => {
        const socket = open(server);
        const marks = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
        const received = answers(socket, 3);
        for (let index = 1; index < marks.length; index++) {
          socket.write(bytes.slice(marks[index - 1], marks[index]));
          await new Promise((resolve) => setImmediate(resolve));
        }
        const texts = (await received).map((text) => text.replace(/^(plain|fetch) /, '').trim());
        expect(texts).toEqual(['/plain/1', '/other', '/plain/3']);
        socket.destroy();
      }),
      { seed, numRuns: 60 },
    );
  });

  it('keep what comes while an answer is awaited, up to a limit', async () => {
    const { server, held } = await serve();
    const socket = open(server);
    socket.write(get('/held'));
    await vi.waitFor(() => expect(held).toHaveLength(1));
    socket.write(get('/plain/early'));
    held[0]?.release(answerOf('released'));
    expect(await answers(socket, 2)).toEqual(['released', 'plain /plain/early']);
    const flood = open(server);
    flood.write(get('/held'));
    await vi.waitFor(() => expect(held).toHaveLength(2));
    flood.write('x'.repeat(20_000));
    await once(flood, 'close');
  });

  it.each([
    ['goes', (socket: Socket) => socket.destroy()],
    ['breaks off', (socket: Socket) => socket.resetAndDestroy()],
    ['ends its side', (socket: Socket) => socket.end()],
  ])('tell when a client %s while it is held', async (_, leave) => {
    const { server, held } = await serve();
    const socket = open(server);
    socket.write(get('/held'));
    await vi.waitFor(() => expect(held).toHaveLength(1));
    const gone = vi.fn();
    const client = held[0]?.client;
    const { signal } = client ?? { signal: AbortSignal.abort() };
    expect(client?.onGone(gone)).toBeTypeOf('function');
    expect(signal.aborted).toBe(false);
    leave(socket);
    await vi.waitFor(() => expect(gone).toHaveBeenCalledTimes(1));
    expect(signal.aborted).toBe(true);
    expect(client?.onGone(gone)).toBeUndefined();
    held[0]?.release(answerOf('too late'));
  });

  it('that send nothing are closed, and so are those that ask no more', async () => {
    const { server } = await serve({ headersTimeoutMs: 50, keepAliveTimeoutMs: 100 });
    const silent = open(server);
    const asked = open(server);
    asked.write(get('/plain'));
    await answers(asked, 1);
    silent.resume();
    asked.resume();
    await Promise.all([once(silent, 'close'), once(asked, 'close')]);
    expect([silent.bytesRead, asked.bytesRead > 0]).toEqual([0, true]);
  });

  it('are closed with the server: idle ones at once, others with their answer', async () => {
    const { server, held } = await serve();
    const idle = open(server);
    idle.write(get('/plain'));
    await answers(idle, 1);
    const busy = open(server);
    busy.write(get('/held'));
    await vi.waitFor(() => expect(held).toHaveLength(1));
    const closed = server.close(5_000);
    idle.resume();
    await once(idle, 'close');
    held[0]?.release(answerOf('the last'));
    expect(Buffer.concat(await busy.toArray()).toString()).toMatch(/\r\nconnection: close\r\n[^]*the last$/);
    await closed;
  });

  it('are closed when they take an answer too slowly', async () => {
    const clock = new FakeClock();
    const metrics = new HttpMetrics(createMetrics('test'));
    const slowReaders = new SlowReaders(
      { bytesPerSecondMin: 1024 * 1024, graceMs: 1_000 },
      { clock, metrics },
    );
    const body = new Uint8Array(32 * 1024 * 1024);
    const headers = { 'content-length': String(body.length) };
    const handler: PlainHandler = () => Promise.resolve({ status: 200, headers, body });
    const { server } = await serve({}, { handler, slowReaders });
    const socket = open(server);
    socket.pause();
    socket.write(get('/'));
    await vi.waitFor(() => expect(slowReaders.count).toBe(1));
    clock.advance(34_000);
    expect((await metrics.slowReaders.get()).values[0]?.value).toBe(1);
    expect([slowReaders.count, clock.pendingCount]).toEqual([0, 0]);
    socket.resume();
    await once(socket, 'close');
    expect((await (await fetch(server.url)).bytes()).length).toBe(body.length);
    await vi.waitFor(() => expect(slowReaders.count).toBe(0));
  });
});
