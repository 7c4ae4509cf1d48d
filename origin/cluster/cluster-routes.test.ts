import { beforeEach, describe, expect, it } from 'vitest';
import { Hono } from 'hono';
import { onError } from '#runtime/http/problem.ts';
import { createClusterRoutes } from '#origin/cluster/cluster-routes.ts';
import { decodeStreamImage } from '#origin/cluster/stream-image.ts';
import type { StreamTimelines } from '#origin/cluster/stream-timelines.ts';
import { createTestOrigin, TestPublisher } from '#origin/live/testing/test-publisher.ts';

const TOKEN = 'ingest-token';
const STREAM = '/internal/v1/streams/show';

describe('what origins ask of one another', () => {
  let app: Hono;
  let publisher: TestPublisher;
  let changes: unknown[];

  beforeEach(() => {
    const origin = createTestOrigin();
    publisher = new TestPublisher(origin).begin().putSegments(3);
    changes = [];
    const note = (change: unknown): void => void changes.push(change);
    app = new Hono();
    app.onError(onError(() => undefined));
    app.route(
      '/',
      createClusterRoutes({
        ingestToken: TOKEN,
        live: origin.streams,
        timelines: { lead: note, follow: note } as unknown as StreamTimelines,
        describe: () => {
          throw new Error('not asked here');
        },
        adopt: note,
        onChange: () => undefined,
      }),
    );
  });
  const call = (method: string, path: string, body?: unknown, token = TOKEN): Promise<Response> =>
    Promise.resolve(
      app.request(path, {
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      }),
    );

  it.each([
    ['GET', '/internal/v1/node'],
    ['GET', `${STREAM}/window`],
    ['POST', `${STREAM}/lead`],
    ['POST', `${STREAM}/removed`],
    ['GET', '/internal/v1/live/show/720p/index.m3u8'],
  ])('wants the ingest token for %s %s', async (method, path) => {
    expect((await call(method, path, undefined, 'another')).status).toBe(401);
    expect(publisher.stream.isEnded).toBe(false);
  });

  it.each([
    ['lead', '{'],
    ['lead', {}],
    ['follow', { input: 1 }],
    ['adopt', { holders: { streamId: '../x' }, from: 'file:///etc' }],
    [
      'adopt',
      {
        holders: { streamId: 'other', sessionId: 's', fencingToken: 1, version: 1, nodeUrls: [] },
        from: 'http://a',
        isPublishing: true,
      },
    ],
    ['session-ended', { sessionId: 'x', reason: 'lost' }],
    ['session-ended', { sessionId: publisherId(), reason: 'because' }],
    ['lead', `"${'x'.repeat(200_000)}"`],
  ])('refuses a %s that is none, and changes nothing', async (what, body) => {
    const { status } = await call('POST', `${STREAM}/${what}`, body);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(500);
    expect(changes).toEqual([]);
    expect(publisher.stream.isEnded).toBe(false);
  });

  it('refuses stream ids and files that are none', async () => {
    for (const path of [
      '/internal/v1/streams/a%2Fb/last-msn',
      '/internal/v1/live/show/720p/../x',
      '/internal/v1/live/show/720p/index.m3u8?_HLS_msn=-1',
      '/internal/v1/live/show/720p/x.m4s',
      '/internal/v1/live/nobody/720p/index.m3u8',
    ]) {
      const { status } = await call('GET', path);
      expect([400, 404, 422]).toContain(status);
    }
  });

  it('gives the last number and the whole window', async () => {
    expect(await (await call('GET', `${STREAM}/last-msn`)).json()).toEqual({
      lastMsn: publisher.grant.firstMsn + 2,
    });
    expect(await (await call('GET', '/internal/v1/streams/nobody/last-msn')).json()).toEqual({ lastMsn: 0 });
    const window = await call('GET', `${STREAM}/window`);
    const image = decodeStreamImage(new Uint8Array(await window.arrayBuffer()), 0);
    expect(image).toMatchObject({ streamId: 'show', firstMsn: publisher.grant.firstMsn });
    expect((await call('GET', '/internal/v1/streams/nobody/window')).status).toBe(404);
  });

  it('ends a session when it is told', async () => {
    const { sessionId } = publisher;
    await call('POST', `${STREAM}/session-ended`, { sessionId, reason: 'revoked' });
    expect(publisher.stream.isEnded).toBe(true);
  });
});

function publisherId(): string {
  return '11111111-1111-4111-8111-111111111111';
}
