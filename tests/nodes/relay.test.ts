import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createStream, publishTo, type NodesPublisher } from '#tests/support/nodes-publisher.ts';
import {
  INGEST_TOKEN,
  startOriginNodes,
  type OriginNode,
  type OriginNodes,
} from '#tests/support/origin-nodes.ts';
import { startRedis, type TestRedis } from '#tests/support/redis-server.ts';
import { hasNoPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

const WAITERS = 200;

describe.skipIf(hasNoPostgres)('a stream that other origins hold', () => {
  let redis: TestRedis;
  let origins: OriginNodes;
  let publisher: NodesPublisher;
  let id: string;
  let holders: OriginNode[];
  let relay: OriginNode;

  beforeAll(async () => {
    redis = await startRedis();
    origins = await startOriginNodes(3, redis.url);
    const stream = await createStream(origins.nodes[0] as OriginNode);
    ({ id } = stream);
    publisher = await publishTo(origins.nodes, stream.streamKey);
    const { origins: urls = [] } = publisher.timeline;
    holders = urls.map((url) => origins.nodes.find((node) => node.url === url) as OriginNode);
    relay = origins.nodes.find(({ url }) => !urls.includes(url)) as OriginNode;
    await waitFor(
      'the stream to be played from the third origin',
      async () => (await fetch(`${relay.url}/live/${id}/master.m3u8`)).ok,
    );
  }, 60_000);
  afterAll(async () => {
    await publisher?.end();
    await origins?.close();
    await redis?.close();
  });

  /** The media playlist of the video rendition, at an origin. */
  const playlist = async (node: OriginNode, query = ''): Promise<{ text: string; response: Response }> => {
    const response = await fetch(`${node.url}/live/${id}/720p/index.m3u8${query}`);
    return { text: await response.text(), response };
  };
  const edgeOf = (text: string): { msn: number; part: number } => {
    const hint = /PRELOAD-HINT:TYPE=PART,URI="(\d+)\.(\d+)\.m4s"/.exec(text);
    return { msn: Number(hint?.[1]), part: Number(hint?.[2]) };
  };

  it('is the same playlist at both holders and at the third origin', async () => {
    const text = await waitFor('three equal answers', async () => {
      const texts = await Promise.all(origins.nodes.map(async (node) => (await playlist(node)).text));
      return new Set(texts).size === 1 && texts[0];
    });
    expect(text).toContain('#EXT-X-PART:');
  });

  it('is asked for once by an origin where 200 wait for the same part', async () => {
    const { msn, part } = edgeOf((await playlist(relay)).text);
    const pulled = (): Promise<number> => relay.metric('origin_relay_pulls_total');
    const before = await pulled();
    const query = `?_HLS_msn=${msn}&_HLS_part=${part}`;
    const answers = await Promise.all(
      Array.from({ length: WAITERS }, async (_, index) => {
        const order = index % 2 === 0 ? query : `?_HLS_part=${part}&x=${index}&_HLS_msn=${msn}`;
        const { text, response } = await playlist(relay, order);
        return { status: response.status, text, etag: response.headers.get('etag') };
      }),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(answers[0]?.text).toContain(`URI="${msn}.${part}.m4s"`);
    expect(await pulled()).toBe(before + 1);
    // The same version under the same name at a holder: caches may take either.
    const { response } = await playlist(holders[0] as OriginNode, query);
    expect(response.headers.get('cache-control')).toBe(
      (await playlist(relay, query)).response.headers.get('cache-control'),
    );
  });

  it('gives the same bytes of parts and segments, held ones included', async () => {
    const { msn, part } = edgeOf((await playlist(relay)).text);
    const path = `/live/${id}/720p/${msn}.${part}.m4s`;
    const bodies = await Promise.all(
      [relay, relay, ...holders].map(async ({ url }) => {
        const response = await fetch(`${url}${path}`);
        const body = Buffer.from(await response.arrayBuffer()).toString('hex');
        return `${response.status} ${response.headers.get('etag')} ${body}`;
      }),
    );
    expect(new Set(bodies).size).toBe(1);
    expect(bodies[0]).toMatch(/^200 /);
    const range = await fetch(`${relay.url}${path}`, { headers: { range: 'bytes=0-3' } });
    expect(range.status).toBe(206);
    expect(Buffer.from(await range.arrayBuffer()).toString('hex')).toBe(
      bodies[0]?.split(' ')[2]?.slice(0, 8),
    );
  });

  it('passes on what a holder refuses', async () => {
    const { msn } = edgeOf((await playlist(relay)).text);
    const tooFar = await playlist(relay, `?_HLS_msn=${msn + 100}`);
    expect(tooFar.response.status).toBe(400);
    expect((await playlist(relay, '?_HLS_part=1')).response.status).toBe(400);
    expect((await fetch(`${relay.url}/live/${id}/nothing/index.m3u8`)).status).toBe(404);
    expect((await fetch(`${relay.url}/live/unheard-of/master.m3u8`)).status).toBe(404);
    const internal = await fetch(`${relay.url}/internal/v1/live/${id}/master.m3u8`);
    expect(internal.status).toBe(401);
    const sentOn = await relay.call('GET', `/internal/v1/live/${id}/master.m3u8`, undefined, INGEST_TOKEN);
    expect(sentOn.status).toBe(404);
  });

  it('is shown by the API of every origin', async () => {
    for (const node of origins.nodes) {
      const shown = await waitFor(`${node.url} to show the stream as live`, async () => {
        const stats = (await (await node.call('GET', `/api/v1/streams/${id}/stats`)).json()) as {
          status: string;
          session?: { id: string };
          renditions: unknown[];
        };
        return stats.status === 'live' && stats.session !== undefined && stats;
      });
      expect(shown.session?.id).toBe(publisher.grant.sessionId);
      expect(shown.renditions).toHaveLength(3);
      const list = (await (await fetch(`${node.url}/api/v1/live`)).json()) as { streams: { id: string }[] };
      expect(list.streams.map((stream) => stream.id)).toEqual([id]);
    }
  });

  it('has one publisher, whichever origin is asked', async () => {
    const key = await createStream(relay);
    const first = await publishTo([relay], key.streamKey);
    const [, other] = origins.nodes.filter((node) => node !== relay);
    await expect(publishTo([other as OriginNode], key.streamKey)).rejects.toMatchObject({
      code: 'stream_busy',
    });
    await first.end();
    const second = await waitFor('the key to be free', () =>
      publishTo([other as OriginNode], key.streamKey).catch(() => undefined),
    );
    expect(second.grant.fencingToken).toBeGreaterThan(first.grant.fencingToken);
    expect(second.timeline.firstMsn).toBeGreaterThan(first.timeline.firstMsn);
    await second.end();
  });
});
