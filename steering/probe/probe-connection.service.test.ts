import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttp, type RequestListener, type Server } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { createServer as createTcp, type AddressInfo, type Server as TcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#runtime/clock.ts';
import { CONNECT_DEADLINE_MS, ProbeConnection, type ProbeAnswer } from '#steering/probe/probe-connection.ts';
import { ProbeFailure } from '#steering/probe/probe-failure.ts';

const never = new AbortController().signal;

/** Code of the failure with which `attempt` ends, or `done`. */
async function codeOf(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
    return 'done';
  } catch (error) {
    if (error instanceof ProbeFailure) return error.code;
    throw error;
  }
}

const listening = async <Listening extends TcpServer>(server: Listening): Promise<number> => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
};

describe('over TLS', () => {
  let folder: string;
  let server: Server;
  let port: number;
  let ca: string;

  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'probe-tls-'));
    const file = (name: string): string => path.join(folder, name);
    execFileSync(
      'openssl',
      ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
        .concat(['-keyout', file('key.pem'), '-out', file('cert.pem'), '-subj', '/CN=cdn.example'])
        .concat(['-addext', 'subjectAltName=DNS:cdn.example,IP:127.0.0.1']),
      { stdio: 'ignore' },
    );
    ca = readFileSync(file('cert.pem'), 'utf8');
    server = createHttps({ key: readFileSync(file('key.pem')), cert: ca }, (request, response) =>
      response.end(`${request.headers.host} ${request.url}`),
    );
    port = await listening(server);
  });
  afterAll(() => {
    server.close();
    server.closeAllConnections();
    rmSync(folder, { recursive: true });
  });

  const connection = (host: string, trust: string | undefined): ProbeConnection =>
    new ProbeConnection(
      new URL(`https://${host}:${port}`),
      { address: '127.0.0.1', family: 4 },
      { clock: systemClock, signal: never, ...(trust === undefined ? {} : { ca: trust }) },
    );

  it.each(['cdn.example', '127.0.0.1'])(
    'checks the certificate of %s and measures the handshake',
    async (host) => {
      const probe = connection(host, ca);
      const times = await probe.open();
      expect(times.tlsMs).toBeGreaterThan(0);
      const answer = await probe.get({ ...ASK, path: '/x' });
      expect(answer.text).toBe(`${host}:${port} /x`);
      await probe.close();
    },
  );

  it.each([
    ['a name that is not in the certificate', 'other.example', true],
    ['an authority that is not trusted', 'cdn.example', false],
  ])('refuses %s', async (_, host, trusted) => {
    const probe = connection(host, trusted ? ca : undefined);
    expect(await codeOf(probe.open())).toBe('tls_failed');
    await probe.close();
  });

  it('gives up on a handshake that hangs, and on one that breaks', async () => {
    const silent = createTcp((socket) => socket.on('error', () => socket.destroy()));
    const breaking = createTcp((socket) => socket.once('data', () => socket.resetAndDestroy()));
    const at = async (tcp: TcpServer): Promise<ProbeConnection> =>
      new ProbeConnection(
        new URL(`https://cdn.example:${await listening(tcp)}`),
        { address: '127.0.0.1', family: 4 },
        { clock: systemClock, signal: never },
      );
    const startMs = performance.now();
    expect(await codeOf((await at(silent)).open())).toBe('tls_failed');
    expect(performance.now() - startMs).toBeLessThan(CONNECT_DEADLINE_MS + 1_000);
    expect(await codeOf((await at(breaking)).open())).toBe('reset');
    silent.close();
    breaking.close();
  });
});

const ASK = {
  path: '/',
  firstByteDeadlineMs: 500,
  bodyDeadlineMs: 500,
  bodyBytesMax: 10_000,
  as: 'text' as const,
};

describe('limits of an answer', () => {
  let server: Server | undefined;
  let connection: ProbeConnection | undefined;

  const ask = async (listener: RequestListener, changes: Partial<typeof ASK> = {}): Promise<ProbeAnswer> => {
    server = createHttp(listener);
    connection = new ProbeConnection(
      new URL(`http://127.0.0.1:${await listening(server)}`),
      { address: '127.0.0.1', family: 4 },
      { clock: systemClock, signal: never },
    );
    return connection.get({ ...ASK, ...changes });
  };
  afterEach(async () => {
    await connection?.close();
    server?.closeAllConnections();
    server?.close();
  });

  it.each<[string, RequestListener, string]>([
    ['a body that is too large', (_, response) => response.end('x'.repeat(10_001)), 'body_too_large'],
    [
      'a small body that unpacks to a large one',
      (_, response) =>
        response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(5_000_000))),
      'encoding_invalid',
    ],
    [
      'a body that claims to be gzip',
      (_, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end('no'),
      'encoding_invalid',
    ],
    [
      'an encoding that was not asked for',
      (_, response) => response.writeHead(200, { 'content-encoding': 'br' }).end('no'),
      'encoding_invalid',
    ],
    ['no answer', () => undefined, 'no_answer'],
    [
      'a body that stops coming',
      (_, response) => response.writeHead(200, { 'content-length': 100 }).write('x'),
      'body_stalled',
    ],
    ['no content', (_, response) => response.writeHead(204).end(), 'status_other'],
    ['a part of the content', (_, response) => response.writeHead(206).end('x'), 'status_other'],
    ['a teapot', (_, response) => response.writeHead(418).end('x'), 'status_4xx'],
    ['not HTTP', (request) => request.socket.end('220 smtp ready\r\n'), 'reset'],
  ])('end %s', async (_, listener, code) => {
    expect(await codeOf(ask(listener))).toBe(code);
  });

  it('does not end what is within them', async () => {
    const body = 'a'.repeat(10_000);
    const answer = await ask((request, response) => {
      expect(request.headers['accept-encoding']).toBe('gzip');
      response.writeHead(200, { 'content-encoding': 'gzip', age: '3' }).end(gzipSync(body));
    });
    expect(answer.text).toBe(body);
    expect(answer.header('age')).toBe('3');
    expect(answer.bodyBytes).toBeLessThan(200);
  });

  it('asks again over a new connection when the server closes each', async () => {
    const sockets = new Set<unknown>();
    const listener: RequestListener = (request, response) => {
      sockets.add(request.socket);
      response.writeHead(200, { connection: 'close' }).end('x');
    };
    await ask(listener);
    expect((await connection?.get(ASK))?.text).toBe('x');
    expect(sockets.size).toBe(2);
  });
});
