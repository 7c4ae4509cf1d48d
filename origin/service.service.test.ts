import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { get } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { findClusterProcesses, readPostmasterPid } from '#runtime/postgres/cluster-processes.ts';
import { makePresentation } from '#origin/live/testing/synthetic-media.ts';
import { OriginUnderTest, type ApiStream, type Problem } from '#origin/testing/origin-under-test.ts';
import { hasNoPostgres } from '#tests/support/test-postgres.ts';
import { waitFor, within } from '#tests/support/wait-for.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) await cleanup();
});

/** An origin with a PostgreSQL of its own in its data folder. */
async function start(env: Readonly<Record<string, string>> = {}): Promise<OriginUnderTest> {
  const origin = await OriginUnderTest.start(env);
  cleanups.push(() => origin.close());
  return origin;
}

const clusterDir = (origin: OriginUnderTest): string => join(origin.dataDir, 'postgres', 'cluster');

type Readiness = { ready: boolean; checks: Record<string, { ok: boolean }> };
const readiness = (origin: OriginUnderTest, plane = '') =>
  origin.call<Readiness>('GET', `/readyz${plane}`, { token: null });

describe.skipIf(hasNoPostgres)('an origin with an embedded PostgreSQL', () => {
  it('keeps streams, keys and numbers over a restart, and leaves no process behind', async () => {
    const first = await OriginUnderTest.start();
    const { id, streamKey } = await first.createStream({ name: 'Kept' });
    const { body: before } = await first.authorise(streamKey);
    const timeline = await first.publish(before, 2);
    await within('the stop', 5_000, first.stop());
    expect(findClusterProcesses(clusterDir(first))).toEqual([]);

    const second = await start({ DATA_DIR: first.dataDir });
    expect(await second.getStream(id)).toMatchObject({ name: 'Kept', status: 'live' });
    const { status, body: after } = await second.authorise(streamKey);
    expect(status).toBe(201);
    expect(after.fencingToken).toBeGreaterThan(before.fencingToken);
    expect((await second.publish(after)).firstMsn).toBeGreaterThan(timeline.firstMsn + 1);
  });

  it('takes up a session after a restart whose heartbeats go on', async () => {
    const first = await OriginUnderTest.start();
    const { streamKey } = await first.createStream();
    const { body: grant } = await first.authorise(streamKey);
    const timeline = await first.publish(grant, 2);
    await first.stop();

    const second = await start({ DATA_DIR: first.dataDir });
    expect((await second.heartbeat(grant)).status).toBe(200);
    expect((await second.authorise(streamKey)).body.code).toBe('stream_busy');
    expect((await second.publish(grant)).firstMsn).toBeGreaterThan(timeline.firstMsn + 1);
    expect(await second.getStream(grant.streamId)).toMatchObject({ status: 'live' });
  });

  it('goes on playing and publishing while PostgreSQL hangs, and comes back by itself', async () => {
    const origin = await start();
    const { id, streamKey } = await origin.createStream();
    const { body: grant } = await origin.authorise(streamKey);
    const presentation = makePresentation();
    const timeline = await origin.publish(grant, 1, presentation);
    const beats = origin.keepAlive(grant);
    cleanups.push(beats.stop);
    const pids = findClusterProcesses(clusterDir(origin));
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    cleanups.push(() => pids.forEach((pid) => existsSync(`/proc/${pid}`) && process.kill(pid, 'SIGCONT')));

    const first = await within('the answer', 8_000, origin.call<Problem>('GET', '/api/v1/streams'));
    expect([first.status, first.body.code]).toEqual([503, 'database_unavailable']);
    expect(Number(first.headers.get('retry-after'))).toBeGreaterThan(0);
    const calls: [string, string, object?][] = [
      ['POST', '/api/v1/streams', {}],
      ['PATCH', `/api/v1/streams/${id}`, { name: 'x' }],
      ['DELETE', `/api/v1/streams/${id}`],
      ['POST', `/api/v1/streams/${id}/keys`, {}],
    ];
    for (const [method, path, body] of calls) {
      const answer = await within(
        `the answer to ${method}`,
        1_000,
        origin.call(method, path, body === undefined ? {} : { body }),
      );
      expect([method, answer.status]).toEqual([method, 503]);
    }
    expect((await origin.authorise(streamKey)).status).toBe(503);

    expect(await origin.putPart(grant, timeline, presentation, '720p', 6)).toBe(201);
    expect((await fetch(`${origin.origin.url}/live/${id}/720p/index.m3u8`)).status).toBe(200);
    const listed = await origin.call<{ streams: ApiStream[] }>('GET', '/api/v1/live', { token: null });
    expect(listed.body.streams.map((stream) => stream.id)).toEqual([id]);
    expect(await readiness(origin)).toMatchObject({
      status: 503,
      body: { checks: { postgres: { ok: false } } },
    });
    expect(await readiness(origin, '?plane=media')).toMatchObject({ status: 200, body: { ready: true } });

    for (const pid of pids) process.kill(pid, 'SIGCONT');
    await waitFor('the API', async () => (await readiness(origin)).status === 200, { deadlineMs: 5_000 });
    expect((await origin.getStream(id)).name).toBe(id);
    expect(await beats.stop()).toEqual(new Set([200]));
  });

  it('has PostgreSQL back within seconds of a kill -9, and the running session with it', async () => {
    const origin = await start();
    const { id, streamKey } = await origin.createStream();
    const { body: grant } = await origin.authorise(streamKey);
    process.kill(readPostmasterPid(clusterDir(origin))?.pid ?? 0, 'SIGKILL');
    await waitFor(
      'a stream to be made',
      async () => {
        expect((await origin.heartbeat(grant)).status).toBe(200);
        return (await origin.call('POST', '/api/v1/streams', { body: {} })).status === 201;
      },
      { deadlineMs: 5_000, intervalMs: 100 },
    );
    expect((await origin.getStream(id)).id).toBe(id);
    await origin.call('PATCH', `/api/v1/streams/${id}`, { body: { streamKey: 'rotate' } });
    expect((await origin.heartbeat(grant)).status).toBe(410);
  });

  it('makes a ready-made stream and keeps its key over restarts', async () => {
    const first = await OriginUnderTest.start();
    const made = await first.origin.ensureStream({ id: 'demo', name: 'Demo', reconnectWindowS: 5 });
    expect(await first.getStream('demo')).toMatchObject({ name: 'Demo', reconnectWindow: 5 });
    const file = join(first.dataDir, 'stream-keys', 'demo');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    await first.call('PATCH', '/api/v1/streams/demo', { body: { name: 'Renamed' } });
    await first.stop();

    const second = await start({ DATA_DIR: first.dataDir });
    const again = await second.origin.ensureStream({ id: 'demo', name: 'Demo' });
    expect(again).toEqual(made);
    expect((await second.getStream('demo')).name).toBe('Renamed');
    expect((await second.authorise(made.streamKey)).status).toBe(201);
  });

  it('lets a ready-made stream have the key that its owner has set beside the kept one', async () => {
    const origin = await start();
    const { streamKey } = await origin.origin.ensureStream({ id: 'demo' });
    await origin.call('PATCH', '/api/v1/streams/demo', { body: { streamKey: 'the-owners-own-key' } });
    expect((await origin.authorise(streamKey)).status).toBe(403);
    await origin.origin.ensureStream({ id: 'demo' });
    for (const key of [streamKey, 'the-owners-own-key']) {
      const { status, body } = await origin.authorise(key);
      expect(status).toBe(201);
      const { sessionId, fencingToken } = body;
      await origin.ingest('demo/end', { sessionId, fencingToken, reason: 'unpublished' });
    }
  });

  it('takes a key for a ready-made stream that the caller keeps', async () => {
    const origin = await start();
    const streamKey = 'kept-by-the-caller-1';
    expect(await origin.origin.ensureStream({ id: 'demo', streamKey })).toEqual({ id: 'demo', streamKey });
    expect((await origin.authorise(streamKey)).status).toBe(201);
    expect(existsSync(join(origin.dataDir, 'stream-keys'))).toBe(false);
  });

  it('slows down whoever guesses keys', async () => {
    const origin = await start({ ORIGIN_AUTH_FAILURES_PER_MINUTE: '2' });
    for (let guess = 0; guess < 2; guess++)
      expect((await origin.authorise(`guess-${guess}`)).status).toBe(403);
    const slowed = await origin.authorise('guess-3');
    expect([slowed.status, slowed.body.code]).toEqual([429, 'too_many_attempts']);
    expect(slowed.headers.get('retry-after')).toBe('30');
    expect((await origin.authorise('guess-4', '192.0.2.2')).status).toBe(403);
  });

  it('refuses another pepper than the one the keys were made with', async () => {
    const origin = await OriginUnderTest.start();
    cleanups.push(() => origin.close());
    await origin.stop();
    const pepper = join(origin.dataDir, 'key-pepper');
    expect(statSync(pepper).mode & 0o777).toBe(0o600);
    writeFileSync(pepper, `${'0'.repeat(64)}\n`);
    await expect(OriginUnderTest.start({ DATA_DIR: origin.dataDir })).rejects.toMatchObject({
      code: 'pepper_mismatch',
    });
    expect(findClusterProcesses(clusterDir(origin))).toEqual([]);
  });

  it('refuses a second origin on the same data folder', async () => {
    const origin = await start();
    await expect(OriginUnderTest.start({ DATA_DIR: origin.dataDir })).rejects.toMatchObject({
      code: 'data_folder_busy',
    });
    expect((await origin.call('GET', '/api/v1/streams')).status).toBe(200);
  });

  it('says which port is taken, and leaves nothing running', async () => {
    const blocker = createServer().listen(0, '127.0.0.1');
    await once(blocker, 'listening');
    cleanups.push(() => blocker.close());
    const { port } = blocker.address() as { port: number };
    const dataDir = mkdtempSync(join(tmpdir(), 'livehls-origin-'));
    cleanups.push(() => rmSync(dataDir, { recursive: true, force: true }));
    const refused = OriginUnderTest.start({ DATA_DIR: dataDir, ORIGIN_PORT: String(port) });
    await expect(refused).rejects.toMatchObject({ code: 'listen_failed' });
    expect(findClusterProcesses(join(dataDir, 'postgres', 'cluster'))).toEqual([]);
  });

  it('speaks HTTP/2 and HTTP/1.1 over TLS, and names itself so in its answers', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'livehls-tls-'));
    cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'];
    execFileSync('openssl', ['req', '-x509', ...curve, ...subject, '-keyout', key, '-out', cert], {
      stdio: 'ignore',
    });
    const origin = await start({ ORIGIN_TLS_CERT_FILE: cert, ORIGIN_TLS_KEY_FILE: key });
    await origin.origin.ensureStream({ id: 'demo' });

    const client = connectHttp2(origin.origin.url, { ca: readFileSync(cert) });
    cleanups.push(() => client.destroy());
    const request = client.request({
      ':path': '/api/v1/streams/demo',
      authorization: 'Bearer admin-token-of-the-tests',
    });
    const [headers] = (await once(request, 'response')) as [Record<string, unknown>];
    const text = Buffer.concat(await request.toArray()).toString();
    expect(headers).toMatchObject({ ':status': 200, 'strict-transport-security': 'max-age=31536000' });
    const stream = JSON.parse(text) as ApiStream;
    expect(stream.playback.hls).toBe(`${origin.origin.url}/live/demo/master.m3u8`);
    expect(stream.ingest).toEqual([`rtmp://${new URL(origin.origin.url).hostname}:1935/app`]);
    const plain = get(`${origin.origin.url}/healthz`, { ca: readFileSync(cert), agent: false });
    const [answer] = (await once(plain, 'response')) as [IncomingMessage];
    expect([answer.httpVersion, answer.statusCode]).toEqual(['1.1', 200]);
    answer.resume();
    await within('the stop, the HTTP/2 connection still open', 4_000, origin.stop());
  });

  it('says what is wrong with a certificate that cannot be read', async () => {
    const refused = OriginUnderTest.start({
      ORIGIN_TLS_CERT_FILE: '/no/cert',
      ORIGIN_TLS_KEY_FILE: '/no/key',
    });
    await expect(refused).rejects.toMatchObject({
      code: 'tls_file_unreadable',
      message: expect.stringContaining('ORIGIN_TLS_CERT_FILE') as string,
    });
  });

  it('serves health, metrics and the player page', async () => {
    const origin = await start({ ORIGIN_PLAYER: 'yes', ORIGIN_PLAYER_MEDIA_ORIGINS: 'https://cdn.example' });
    expect((await origin.call('GET', '/healthz', { token: null })).body).toEqual({ ok: true });
    expect(await readiness(origin)).toMatchObject({ status: 200, body: { ready: true } });
    const metrics = (await origin.call('GET', '/metrics', { token: null })).text;
    for (const name of [
      'origin_publish_sessions',
      'database_up',
      'embedded_postgres_up',
      'origin_live_waiters',
    ])
      expect(metrics).toContain(`${name}{service="origin"}`);
    const page = await origin.call('GET', '/', { token: null });
    expect(page.status).toBe(200);
    expect(page.headers.get('content-security-policy')).toContain('https://cdn.example');
    const other = await origin.call<Problem>('GET', '/nothing-here', { token: null });
    expect([other.status, other.body.code]).toEqual([404, 'not_found']);
  });
});
