import { request as httpRequest } from 'node:http';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { RunningHttpServer } from '#runtime/http/server.ts';
import { parseMultivariantStrictly, parseStrictly } from '#origin/live/testing/strict-parser.ts';
import { TestPublisher, createTestOrigin, type TestOrigin } from '#origin/live/testing/test-publisher.ts';
import { servePlayback } from '#origin/testing/serve-playback.ts';

let origin: TestOrigin;
let publisher: TestPublisher;
let server: RunningHttpServer;

beforeEach(async () => {
  origin = createTestOrigin();
  publisher = new TestPublisher(origin).begin();
  server = await servePlayback(origin.streams, {
    isKnownStream: (streamId) => streamId === 'resting',
    isStarting: (streamId) => streamId === 'starting',
  });
});
afterEach(async () => {
  await origin.streams.close();
  await server.close(0);
});

const get = (path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(`${server.url}/live/show/${path}`, init);
const waiting = (): number | undefined => origin.streams.status('show')?.waiters;
const next = (): string => `${publisher.next.msn}.${publisher.next.part}.m4s`;

async function codeOf(response: Response): Promise<[number, string]> {
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  expect(response.headers.get('access-control-allow-origin')).toBe('*');
  return [response.status, ((await response.json()) as { code: string }).code];
}

/** The status of a request whose target is sent as it is, without a URL parser in between. */
function rawGet(target: string, method = 'GET'): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest({ port: server.port, host: '127.0.0.1', path: target, method }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (body += chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    sent.on('error', reject);
    sent.end();
  });
}

describe('playlists', () => {
  it('are served with everything that players and caches need', async () => {
    publisher.putSegments(2);
    const response = await get('720p/index.m3u8');
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'application/vnd.apple.mpegurl',
      'cache-control': 'public, max-age=1',
      'access-control-allow-origin': '*',
      'access-control-expose-headers': expect.stringMatching(/Age.*Content-Length.*Date.*ETag/),
      vary: 'Accept-Encoding',
      priority: 'u=1',
      etag: expect.stringMatching(/^"[A-Za-z0-9_-]{43}-gzip"$/),
    });
    parseStrictly(await response.text());
    const master = await get('master.m3u8');
    expect(master.headers.get('content-type')).toBe('application/vnd.apple.mpegurl');
    const { variants } = parseMultivariantStrictly(await master.text());
    for (const { uri } of variants) expect((await get(uri)).status).toBe(200);
    expect((await get(variants[0]?.audio[0]?.uri ?? '')).status).toBe(200);
  });

  it('are the same bytes for the same request until something comes', async () => {
    publisher.putSegments(2);
    const once = await (await get('720p/index.m3u8')).text();
    expect(await (await get('720p/index.m3u8?_HLS_unknown=1&x=y')).text()).toBe(once);
    publisher.putCells(1);
    expect(await (await get('720p/index.m3u8')).text()).not.toBe(once);
  });

  it('are not sent again to who has them, in the same encoding', async () => {
    publisher.putSegments(2);
    const etag = (await get('720p/index.m3u8')).headers.get('etag') ?? '';
    const again = await get('720p/index.m3u8', { headers: { 'if-none-match': etag } });
    expect([again.status, again.headers.get('etag'), await again.text()]).toEqual([304, etag, '']);
    const plain = await get('720p/index.m3u8', {
      headers: { 'if-none-match': etag, 'accept-encoding': 'identity' },
    });
    expect(plain.status).toBe(200);
  });

  it('are held until there is something to show, the multivariant one too', async () => {
    const answers = ['master.m3u8', '720p/index.m3u8', 'audio/index.m3u8?_HLS_msn=1'].map((path) =>
      get(path),
    );
    await vi.waitFor(() => expect(waiting()).toBe(3));
    publisher.putSegments(1);
    for (const answer of answers) expect((await answer).status).toBe(200);
  });

  it('are answered 503 when that takes longer than three target durations', async () => {
    const answers = ['master.m3u8', '720p/index.m3u8'].map((path) => get(path));
    await vi.waitFor(() => expect(waiting()).toBe(2));
    origin.clock.advance(6_250);
    for (const answer of answers) expect(await codeOf(await answer)).toEqual([503, 'hold_expired']);
  });
});

describe('a stream whose broadcaster has just connected', () => {
  const ask = (path: string): Promise<Response> => fetch(`${server.url}/live/starting/${path}`);
  const held = async (): Promise<number | undefined> =>
    (await origin.streams.metrics.waiters.get()).values[0]?.value;

  it('is waited for', async () => {
    const answers = [ask('master.m3u8'), ask('720p/index.m3u8')];
    await vi.waitFor(async () => expect(await held()).toBe(2));
    new TestPublisher(origin, { streamId: 'starting' }).begin().putSegments(1);
    for (const answer of answers) expect((await answer).status).toBe(200);
  });

  it('is answered 503 when nothing comes', async () => {
    const answer = ask('master.m3u8');
    await vi.waitFor(async () => expect(await held()).toBe(1));
    origin.clock.advance(6_250);
    expect(await codeOf(await answer)).toEqual([503, 'hold_expired']);
  });
});

describe('§6.2.6 Preload hints', () => {
  it('holds the request for the hinted part until all of it is there', async () => {
    publisher.putSegments(1).putCells(1);
    const hinted = next();
    expect(publisher.playlist('720p')).toContain(`#EXT-X-PRELOAD-HINT:TYPE=PART,URI="${hinted}"`);
    const answer = get(`720p/${hinted}`);
    await vi.waitFor(() => expect(waiting()).toBe(1));
    const expected = publisher.body('720p', publisher.upload('720p'));
    publisher.putCells(1);
    const response = await answer;
    expect([response.status, response.headers.get('content-length')]).toEqual([200, String(expected.length)]);
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(expected);
  });

  it('answers an open-ended range of it with all of it', async () => {
    publisher.putSegments(1);
    const answer = get(`720p/${next()}`, { headers: { range: 'bytes=0-9007199254740991' } });
    await vi.waitFor(() => expect(waiting()).toBe(1));
    publisher.putCells(1);
    const response = await answer;
    const { length } = await response.bytes();
    expect([response.status, response.headers.get('content-range')]).toEqual([
      206,
      `bytes 0-${length - 1}/${length}`,
    ]);
  });

  it('answers 404 when the hinted part does not come about', async () => {
    publisher.putSegments(1).putCells(1);
    const gap = get(`720p/${next()}`);
    await vi.waitFor(() => expect(waiting()).toBe(1));
    publisher.loseCells(1).putCells(1);
    expect(await codeOf(await gap)).toEqual([404, 'part_gap']);
    const abandoned = get(`720p/${next()}`);
    await vi.waitFor(() => expect(waiting()).toBe(1));
    new TestPublisher(origin, { fencingToken: 2 }).begin().putCells(1);
    expect(await codeOf(await abandoned)).toEqual([404, 'part_not_found']);
  });

  it('answers 404 to the hinted part when the stream ends, and 503 when it takes too long', async () => {
    publisher.putSegments(1);
    const late = get(`720p/${next()}`);
    await vi.waitFor(() => expect(waiting()).toBe(1));
    origin.clock.advance(6_250);
    expect(await codeOf(await late)).toEqual([503, 'hold_expired']);
    const ended = get(`720p/${next()}`);
    await vi.waitFor(() => expect(waiting()).toBe(1));
    origin.streams.sessionEnded('show', publisher.sessionId, 'revoked');
    expect(await codeOf(await ended)).toEqual([404, 'part_not_found']);
  });

  it('answers 404 at once to parts that are not hinted, and lets no cache remember those that may come', async () => {
    publisher.putSegments(1).putCells(1);
    const { msn } = publisher.next;
    for (const name of [`${msn}.2.m4s`, `${msn + 1}.0.m4s`, `${msn}.m4s`]) {
      const response = await get(`720p/${name}`);
      expect(response.headers.get('cache-control')).toBe('no-store');
      expect((await codeOf(response))[0]).toBe(404);
    }
    const passed = await get(`720p/${msn - 1}.9.m4s`);
    expect(passed.headers.get('cache-control')).toBe('public, max-age=2');
    expect(await codeOf(passed)).toEqual([404, 'part_not_found']);
  });
});

describe('media', () => {
  it('is served for ever under its URL, whole and in ranges', async () => {
    publisher.putSegments(2);
    const { firstMsn, timeline } = publisher.grant;
    for (const [path, type] of [
      [`720p/${firstMsn}.m4s`, 'video/mp4'],
      [`720p/${firstMsn}.0.m4s`, 'video/mp4'],
      [`audio/${firstMsn}.5.m4s`, 'audio/mp4'],
      [`audio/init-${timeline}.mp4`, 'audio/mp4'],
    ] as const) {
      const response = await get(path);
      const bytes = await response.bytes();
      expect(response.headers.get('content-type')).toBe(type);
      expect(response.headers.get('content-length')).toBe(String(bytes.length));
      expect(response.headers.get('cache-control')).toMatch(/^public, max-age=\d{5,}, immutable$/);
      expect(response.headers.get('access-control-allow-origin')).toBe('*');
      expect(response.headers.get('content-encoding')).toBeNull();
      const etag = response.headers.get('etag') ?? '';
      expect((await get(path, { headers: { 'if-none-match': etag } })).status).toBe(304);
      const range = await get(path, { headers: { range: 'bytes=4-7' } });
      expect([range.status, range.headers.get('content-range')]).toEqual([206, `bytes 4-7/${bytes.length}`]);
      expect(await range.bytes()).toEqual(bytes.slice(4, 8));
      const stale = await get(path, { headers: { range: 'bytes=4-7', 'if-range': '"other"' } });
      expect(stale.status).toBe(200);
      const same = await get(path, { headers: { range: 'bytes=4-7', 'if-range': etag } });
      expect(same.status).toBe(206);
      const beyond = await get(path, { headers: { range: `bytes=${bytes.length}-` } });
      expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, `bytes */${bytes.length}`]);
    }
  });

  it('is a segment that is the bytes of its parts', async () => {
    publisher.putSegments(1);
    const { firstMsn } = publisher.grant;
    const names = [0, 1, 2, 3, 4, 5].map((part) => `720p/${firstMsn}.${part}.m4s`);
    const parts = await Promise.all(names.map(async (name) => (await get(name)).bytes()));
    expect(await (await get(`720p/${firstMsn}.m4s`)).bytes()).toEqual(new Uint8Array(Buffer.concat(parts)));
  });
});

describe('methods', () => {
  it('answers HEAD as GET without the body', async () => {
    publisher.putSegments(1);
    for (const path of ['master.m3u8', '720p/index.m3u8', `720p/${publisher.grant.firstMsn}.m4s`]) {
      const full = await get(path, { headers: { 'accept-encoding': 'identity' } });
      const head = await get(path, { method: 'HEAD', headers: { 'accept-encoding': 'identity' } });
      expect([head.status, await head.text()]).toEqual([200, '']);
      for (const name of ['content-length', 'content-type', 'etag', 'cache-control'])
        expect(head.headers.get(name), `${path} ${name}`).toBe(full.headers.get(name));
    }
  });

  it('answers the preflight of another site', async () => {
    const response = await get('720p/index.m3u8', {
      method: 'OPTIONS',
      headers: { origin: 'https://elsewhere.example', 'access-control-request-headers': 'range' },
    });
    expect(response.status).toBe(204);
    expect(response.headers.get('access-control-allow-methods')).toBe('GET, HEAD, OPTIONS');
    expect(response.headers.get('access-control-allow-headers')).toBe('*');
  });

  it.each(['POST', 'PUT', 'DELETE', 'PATCH'])('answers 405 to %s', async (method) => {
    for (const path of ['master.m3u8', '720p/index.m3u8', '720p/1.m4s']) {
      const response = await get(path, { method });
      expect(response.headers.get('allow')).toBe('GET, HEAD, OPTIONS');
      expect(await codeOf(response)).toEqual([405, 'method_not_allowed']);
    }
  });
});

describe('what is not there', () => {
  it('tells a stream that rests from one that does not exist, and has caches forget it soon', async () => {
    for (const [streamId, code] of [
      ['resting', 'stream_offline'],
      ['nothing', 'stream_not_found'],
    ]) {
      const response = await fetch(`${server.url}/live/${streamId}/master.m3u8`);
      expect(response.headers.get('cache-control')).toBe('public, max-age=1');
      expect(await codeOf(response)).toEqual([404, code]);
    }
  });

  it('answers 404 to other renditions, init segments and names', async () => {
    publisher.putSegments(1);
    expect(await codeOf(await get('4320p/index.m3u8'))).toEqual([404, 'rendition_not_found']);
    expect(await codeOf(await get('4320p/1.m4s'))).toEqual([404, 'segment_not_found']);
    expect(await codeOf(await get('4320p/1.1.m4s'))).toEqual([404, 'part_not_found']);
    expect(await codeOf(await get('720p/init-1.mp4'))).toEqual([404, 'init_not_found']);
    expect(await codeOf(await get('720p/secret.txt'))).toEqual([404, 'file_not_found']);
    expect((await fetch(`${server.url}/live/show`)).status).toBe(404);
  });

  it.each([
    '/live/show/../../etc/passwd',
    '/live/show/..%2f..%2fetc%2fpasswd',
    '/live/%2e%2e/master.m3u8',
    '/live/%2e%2e%2f/master.m3u8',
    '/live/a%00b/master.m3u8',
    '/live/show/720p%00/index.m3u8',
    '/live/show/720P/index.m3u8',
    '/live/show/720p/%2e%2e',
    '/live/show/720p/1.m4s%00',
    '/live/show/720p/-1.m4s',
    '/live/show/720p/1e9.m4s',
    '/live/show/720p/99999999999999999999.m4s',
    '/live/show/720p/1.99999999999999999999.m4s',
    `/live/${'x'.repeat(65)}/master.m3u8`,
    '/live//master.m3u8',
    '/live/show//index.m3u8',
    '/live/%zz/master.m3u8',
    '/live/show/%ff%fe/index.m3u8',
    `/live/show/master.m3u8?${'x'.repeat(10_240)}`,
    `/live/show/720p/index.m3u8?_HLS_msn=${'1'.repeat(10_240)}`,
    '/live/show/720p/index.m3u8?_HLS_msn=1%00',
  ])('answers %s with a 4xx and a code', async (target) => {
    publisher.putSegments(1);
    const { status, body } = await rawGet(target);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(500);
    expect((JSON.parse(body) as { code: string }).code).toMatch(/^[a-z_]+$/);
    expect(waiting()).toBe(0);
  });
});
