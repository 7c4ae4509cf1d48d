import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { listen, type RunningHttpServer } from '#runtime/http/server.ts';
import { within } from '#tests/support/wait-for.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

function certificate(): { key: string; cert: string } {
  const folder = mkdtempSync(join(tmpdir(), 'livehls-tls-'));
  cleanups.push(() => rmSync(folder, { recursive: true }));
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '1',
    ].concat(['-subj', '/CN=localhost', '-keyout', key, '-out', cert]),
    { stdio: 'ignore' },
  );
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
}

async function serve(
  fetch: Parameters<typeof listen>[0],
  tls?: { key: string; cert: string },
): Promise<RunningHttpServer> {
  const server = await listen(fetch, { port: 0, host: '127.0.0.1', ...(tls === undefined ? {} : { tls }) });
  cleanups.push(() => server.close(0));
  return server;
}

describe('a server', () => {
  it('answers HTTP/1.0 without a Host, as load balancers check health', async () => {
    const server = await serve((request) => new Response(new URL(request.url).pathname));
    const client = connectTcp(Number(new URL(server.url).port), '127.0.0.1');
    client.end('GET /healthz HTTP/1.0\r\n\r\n');
    const answer = Buffer.concat(await client.toArray()).toString();
    expect(answer).toMatch(/^HTTP\/1\.1 200 [^]*\r\n\r\n\/healthz$/);
  });
});

describe('closing a server', () => {
  it('ends an HTTP/2 connection that its client keeps open', async () => {
    const server = await serve(() => new Response('hello'), certificate());
    const client = connectHttp2(server.url, { rejectUnauthorized: false });
    const stream = client.request({ ':path': '/' });
    const [headers] = (await once(stream, 'response')) as [{ ':status': number }];
    expect(headers[':status']).toBe(200);
    stream.resume();
    await once(stream, 'end');
    const gone = once(client, 'close');
    await within('closing the server', 1_500, server.close(1_000));
    await within('the end of the connection', 1_500, gone);
  });

  it('lets an answer under way finish, and cuts it when the grace is over', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const server = await serve(async (request) => {
      if (new URL(request.url).pathname === '/never') await new Promise(() => undefined);
      await promise;
      return new Response('finished');
    });
    const finished = fetch(`${server.url}/soon`).then((response) => response.text());
    const never = fetch(`${server.url}/never`).then(
      () => 'answered',
      () => 'cut',
    );
    await waitForRequests(server, 2);
    const closed = server.close(300);
    resolve();
    expect(await finished).toBe('finished');
    expect(await never).toBe('cut');
    await within('closing the server', 1_000, closed);
  });

  it('ends a connection that has not sent a request', async () => {
    const server = await serve(() => new Response('hello'));
    const socket = connectTcp(server.port, '127.0.0.1');
    await once(socket, 'connect');
    const gone = once(socket, 'close');
    socket.resume();
    await within('closing the server', 1_500, server.close(200));
    await within('the end of the connection', 1_000, gone);
    expect(socket.destroyed).toBe(true);
  });
});

async function waitForRequests(server: RunningHttpServer, count: number): Promise<void> {
  await within(
    `${count} requests`,
    2_000,
    (async () => {
      for (let seen = 0; seen < count; seen++) await once(server.server, 'request');
    })(),
  );
}
