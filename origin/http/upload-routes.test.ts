import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { Hono } from 'hono';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PART_BYTES_MAX, toUploadHeaders, type PartUpload } from '#protocol/ingest/part-upload.ts';
import { onError } from '#runtime/http/problem.ts';
import { listen, type RunningHttpServer } from '#runtime/http/server.ts';
import { createUploadRoutes } from '#origin/http/upload-routes.ts';
import { TAIL_MS } from '#origin/live/live-stream.ts';
import { makeInit } from '#origin/live/testing/synthetic-media.ts';
import { TestPublisher, createTestOrigin, type TestOrigin } from '#origin/live/testing/test-publisher.ts';

const TOKEN = 'the-ingest-token';
let origin: TestOrigin;
let publisher: TestPublisher;
let server: RunningHttpServer;

beforeEach(async () => {
  origin = createTestOrigin();
  publisher = new TestPublisher(origin).begin();
  const app = new Hono();
  app.onError(onError(() => expect.unreachable()));
  app.route('/', createUploadRoutes(origin.streams, { ingestToken: TOKEN }));
  server = await listen(app.fetch, { port: 0, host: '127.0.0.1' });
});
afterEach(async () => {
  await server.close(0);
});

type Put = {
  readonly path?: string;
  readonly headers?: Record<string, string | undefined>;
  readonly body?: Uint8Array<ArrayBuffer> | ReadableStream;
};

/** Puts the next part of 720p, with changes. */
async function put(changes: Partial<PartUpload> = {}, { path, headers, body }: Put = {}): Promise<Response> {
  const upload = publisher.upload('720p', changes);
  const sent: [string, string | undefined][] = Object.entries({
    authorization: `Bearer ${TOKEN}`,
    ...toUploadHeaders(upload),
    ...headers,
  });
  const given = new Headers();
  for (const [name, value] of sent) if (value !== undefined) given.set(name, value);
  return fetch(`${server.url}${path ?? `/ingest/v1/show/720p/${upload.msn}.${upload.part}.m4s`}`, {
    method: 'PUT',
    headers: given,
    body: body ?? publisher.body('720p', upload),
    duplex: 'half',
  });
}

async function codeOf(response: Response): Promise<string> {
  return ((await response.json()) as { code: string }).code;
}

const isListed = (upload: { msn: number; part: number }): boolean =>
  publisher.playlist('720p').includes(`URI="${upload.msn}.${upload.part}.m4s",INDEPENDENT`);

describe('PUT of a part', () => {
  it('stores and lists it: 201, then 200 for the same bytes', async () => {
    const first = await put();
    expect([first.status, await first.json()]).toEqual([201, { outcome: 'stored' }]);
    expect(isListed(publisher.next)).toBe(true);
    const again = await put();
    expect([again.status, await again.json()]).toEqual([200, { outcome: 'repeated' }]);
  });

  it('answers 200 to the copy of another pipeline, and drops it', async () => {
    await put();
    const upload = publisher.upload('720p');
    const body = publisher.body('720p', { ...upload, msn: 1 });
    publisher.stream.storeInit(
      '720p',
      { ...upload, pipeline: 'b' },
      makeInit(publisher.rendition('720p'), publisher.grant.timeline),
    );
    const second = await put({ pipeline: 'b' }, { body });
    expect([second.status, await second.json()]).toEqual([200, { outcome: 'superseded' }]);
    expect((await put()).status).toBe(200);
  });

  it('answers 409 to other bytes, and keeps the first', async () => {
    await put();
    const other = await put({}, { body: publisher.body('720p', publisher.upload('720p', { msn: 1 })) });
    expect([other.status, await codeOf(other)]).toEqual([409, 'part_conflict']);
    expect((await put()).status).toBe(200);
  });

  it('answers 409 to a part whose place has been listed as a gap', async () => {
    await put();
    await put({ part: 2 });
    const late = await put({ part: 1 });
    expect([late.status, await codeOf(late)]).toEqual([409, 'part_conflict']);
  });

  it('lists a part that does not exist as a gap', async () => {
    await put();
    const gap = await put({ part: 1, gap: true }, { body: new Uint8Array() });
    expect([gap.status, await gap.json()]).toEqual([201, { outcome: 'gap' }]);
    expect(publisher.playlist('720p')).toContain(`URI="${publisher.grant.firstMsn}.1.m4s",GAP=YES`);
    const full = await put(
      { part: 2, gap: true },
      { body: publisher.body('720p', publisher.upload('720p')) },
    );
    expect([full.status, await codeOf(full)]).toEqual([422, 'part_invalid']);
  });

  it.each([
    ['no token', { authorization: undefined }],
    ['a wrong token', { authorization: 'Bearer wrong' }],
    ['a token for something else', { authorization: `Basic ${TOKEN}` }],
  ])('answers 401 to %s', async (_, headers) => {
    const response = await put({}, { headers });
    expect([response.status, await codeOf(response)]).toEqual([401, 'unauthorized']);
    expect(isListed(publisher.next)).toBe(false);
  });

  it.each<[string, number, string, Partial<PartUpload>, Put?]>([
    ['a lower fencing token', 409, 'fencing_token_stale', { fencingToken: 0 }],
    ['a higher fencing token than was seen', 404, 'session_not_found', { fencingToken: 2 }],
    ['another session', 404, 'session_not_found', { sessionId: '00000000-0000-0000-0000-000000000000' }],
    ['a timeline that was not given out', 404, 'timeline_not_found', { timeline: 999_999_999_999 }],
    ['a timeline that is over', 409, 'timeline_stale', { timeline: 0 }],
    ['another stream', 404, 'session_not_found', {}, { path: '/ingest/v1/other/720p/1.0.m4s' }],
    ['another rendition', 404, 'rendition_not_found', {}, { path: '/ingest/v1/show/4320p/1.0.m4s' }],
    ['a path that leads away', 400, 'upload_path_invalid', {}, { path: '/ingest/v1/show/..%2f/1.0.m4s' }],
    ['a segment', 400, 'upload_path_invalid', {}, { path: '/ingest/v1/show/720p/1.m4s' }],
    ['a name that is none', 400, 'upload_path_invalid', {}, { path: '/ingest/v1/show/720p/01.0.m4s' }],
    ['a part beyond the grid', 422, 'part_invalid', { part: 6 }],
    ['a segment before the timeline', 422, 'part_invalid', { msn: 5, startTicks: 0, durationTicks: 10_000 }],
    ['a part longer than PART-TARGET', 422, 'part_invalid', { durationTicks: 10_801 }],
    ['a part of no length', 422, 'part_invalid', { durationTicks: 0 }],
    ['a start outside the grid', 422, 'part_invalid', { startTicks: 30_000 }],
    ['something else', 422, 'part_invalid', {}, { body: new TextEncoder().encode('<html></html>') }],
    ['nothing', 422, 'part_invalid', {}, { body: new Uint8Array() }],
    ['a missing header', 400, 'upload_header_invalid', {}, { headers: { 'part-start': undefined } }],
    ['a header that is no number', 400, 'upload_header_invalid', {}, { headers: { 'part-duration': '1e3' } }],
    [
      'a pipeline id that is none',
      400,
      'upload_header_invalid',
      {},
      { headers: { 'publish-pipeline': 'A/b' } },
    ],
    ['a pipeline without an init segment', 422, 'part_invalid', { pipeline: 'b' }],
    [
      'a part whose samples do not last as its headers say',
      422,
      'part_invalid',
      {},
      { headers: { 'part-duration': '9999' } },
    ],
    ['a session id that is none', 400, 'upload_header_invalid', {}, { headers: { 'publish-session': 'x' } }],
    [
      'a digest of something else',
      422,
      'part_invalid',
      {},
      { headers: { 'content-digest': digestOf('other') } },
    ],
    [
      'a digest that is none',
      400,
      'upload_header_invalid',
      {},
      { headers: { 'content-digest': 'sha-256=:x:' } },
    ],
  ])('refuses %s: %i %s, and changes nothing', async (_, status, code, changes, request) => {
    const before = publisher.playlist('720p');
    const response = await put(changes, request);
    expect([response.status, await codeOf(response)]).toEqual([status, code]);
    expect(publisher.playlist('720p')).toBe(before);
    const reasons = (await origin.streams.metrics.uploadRejects.get()).values;
    expect(reasons).toEqual([expect.objectContaining({ labels: { reason: code }, value: 1 })]);
  });

  it('takes a part whose digest is right, among digests that it does not know', async () => {
    const body = publisher.body('720p', publisher.upload('720p'));
    const headers = { 'content-digest': `md5=:AAAA:, ${digestOf(body)}` };
    expect((await put({}, { headers, body })).status).toBe(201);
  });

  it('answers 410 once the session has ended', async () => {
    publisher.putSegments(1);
    origin.streams.sessionEnded('show', publisher.sessionId, 'lost');
    origin.clock.advance(TAIL_MS);
    const response = await put();
    expect([response.status, await codeOf(response)]).toEqual([410, 'session_ended']);
  });

  it('answers 413 to more than a part may have, announced or not', async () => {
    const announced = await put({}, { body: new Uint8Array(PART_BYTES_MAX + 1) });
    expect([announced.status, await codeOf(announced)]).toEqual([413, 'body_too_large']);
    const chunks = (function* () {
      for (let sent = 0; sent <= PART_BYTES_MAX; sent += 1024 * 1024) yield new Uint8Array(1024 * 1024);
    })();
    const unannounced = await put({}, { body: ReadableStream.from(chunks) });
    expect([unannounced.status, await codeOf(unannounced)]).toEqual([413, 'body_too_large']);
  });

  it('takes a body of unknown length', async () => {
    const body = publisher.body('720p', publisher.upload('720p'));
    const response = await put(
      {},
      { body: ReadableStream.from([body.subarray(0, 100), body.subarray(100)]) },
    );
    expect(response.status).toBe(201);
  });

  it('shows nothing of a part whose sender breaks off', async () => {
    const upload = publisher.upload('720p');
    const body = publisher.body('720p', upload);
    const head = Object.entries({ ...toUploadHeaders(upload), authorization: `Bearer ${TOKEN}` })
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('');
    const socket = connect(server.port, '127.0.0.1');
    socket.write(
      `PUT /ingest/v1/show/720p/${upload.msn}.0.m4s HTTP/1.1\r\nhost: x\r\n${head}content-length: ${body.length}\r\n\r\n`,
    );
    socket.write(body.subarray(0, 300), () => socket.destroy());
    await vi.waitFor(async () => {
      const { values } = await origin.streams.metrics.uploadRejects.get();
      expect(values[0]?.labels.reason).toBe('body_incomplete');
    });
    expect(isListed(upload)).toBe(false);
    expect((await put()).status).toBe(201);
  });

  it('needs the init segment first', async () => {
    const bare = new TestPublisher(origin, { fencingToken: 2 });
    bare.grant = origin.streams.beginTimeline({
      streamId: 'show',
      sessionId: bare.sessionId,
      fencingToken: 2,
      anchorUtcMs: origin.clock.nowMs(),
      presentation: bare.presentation,
      lastMsnFloor: 0,
      reconnectWindowMs: 1_000,
      liveWindowMs: 1_000,
    });
    publisher = bare;
    const response = await put();
    expect([response.status, await codeOf(response)]).toEqual([422, 'part_invalid']);
  });

  it('refuses a jump that is longer than the window', async () => {
    publisher.putCells(1);
    const { msn } = publisher.next;
    expect((await put({ msn: msn + 16, part: 0 })).status).toBe(422);
    expect((await put({ msn: msn + 15, part: 0 })).status).toBe(201);
  });

  it('refuses a number that the clock has not reached', async () => {
    // The window is 15 segments long: so many may be missing, and so far may a transcoder's clock be ahead.
    const { firstMsn } = publisher.grant;
    const future = await put({ msn: firstMsn + 16, part: 0 });
    expect([future.status, await codeOf(future)]).toEqual([422, 'part_invalid']);
    origin.clock.advance(2_000);
    expect((await put({ msn: firstMsn + 16, part: 0 })).status).toBe(201);
  });

  it('measures how long a part took from the ingest', async () => {
    await put();
    expect(origin.streams.status('show')?.renditions[0]?.storeLatencyMs).toBe(50);
    const { values } = await origin.streams.metrics.partStoreLatency.get();
    expect(values.find(({ metricName }) => metricName?.endsWith('_sum') === true)?.value).toBeCloseTo(0.05);
  });
});

describe('PUT of an init segment', () => {
  const putInit = (body: Uint8Array<ArrayBuffer>, timeline = publisher.grant.timeline): Promise<Response> =>
    fetch(`${server.url}/ingest/v1/show/720p/init-${timeline}.mp4`, {
      method: 'PUT',
      headers: {
        authorization: `Bearer ${TOKEN}`,
        'publish-session': publisher.sessionId,
        'publish-fencing-token': '1',
        'publish-timeline': String(publisher.grant.timeline),
      },
      body,
    });

  it('stores it once: 201, 200 for the same bytes, 409 for others', async () => {
    const { timeline } = publisher.grant;
    publisher.begin({ presentation: publisher.presentation });
    expect(publisher.grant.timeline).toBeGreaterThan(timeline);
    const init = makeInit(publisher.rendition('720p'), publisher.grant.timeline);
    expect((await putInit(init)).status).toBe(200);
    const other = await putInit(makeInit(publisher.rendition('720p'), 1));
    expect([other.status, await codeOf(other)]).toEqual([409, 'part_conflict']);
  });

  it('refuses what is none, and the number of another timeline', async () => {
    const part = await putInit(publisher.body('720p', publisher.upload('720p')));
    expect([part.status, await codeOf(part)]).toEqual([422, 'part_invalid']);
    const other = await putInit(makeInit(publisher.rendition('720p'), 1), 1);
    expect([other.status, await codeOf(other)]).toEqual([400, 'upload_header_invalid']);
  });
});

function digestOf(content: string | Uint8Array): string {
  return `sha-256=:${createHash('sha256').update(content).digest('base64')}:`;
}
