import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createStream, publishTo } from '#tests/support/nodes-publisher.ts';
import { startOriginNodes, type OriginNode, type OriginNodes } from '#tests/support/origin-nodes.ts';
import { startRedis, type TestRedis } from '#tests/support/redis-server.ts';
import { hasNoPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

describe.skipIf(hasNoPostgres)('publish sessions of several origins', () => {
  let redis: TestRedis;
  let origins: OriginNodes;
  const [one, two, three] = [0, 1, 2];

  beforeAll(async () => {
    redis = await startRedis();
    origins = await startOriginNodes(3, redis.url);
  }, 60_000);
  afterAll(async () => {
    await origins?.close();
    await redis?.close();
  });
  const node = (index: number): OriginNode => origins.nodes[index] as OriginNode;
  const stateOf = async (at: OriginNode, id: string): Promise<string> =>
    ((await (await at.call('GET', `/api/v1/streams/${id}/stats`)).json()) as { status: string }).status;

  it('live on when the origin dies that looked after them', async () => {
    const { id, streamKey } = await createStream(node(one));
    const publisher = await publishTo([node(one), node(two), node(three)], streamKey);
    await node(one).kill();
    await waitFor(
      'another origin to look after the session',
      async () =>
        (await node(two).metric('origin_publish_sessions')) +
          (await node(three).metric('origin_publish_sessions')) >
        0,
    );
    await waitFor('the stream to be live', async () => (await stateOf(node(three), id)) === 'live');
    const after = await publisher.restart();
    expect(after.firstMsn).toBeGreaterThan(0);
    expect(after.origins).not.toContain(node(one).url);
    await node(one).start();
    await origins.settled();
    expect(await node(one).metric('origin_publish_sessions')).toBe(0);
    await publisher.end();
    for (const at of [one, two, three])
      await waitFor('all to see the end', async () => (await stateOf(node(at), id)) !== 'live');
  });

  it('end when the broadcaster and the origin die that looked after them', async () => {
    const { id, streamKey } = await createStream(node(one), { reconnectWindow: 60 });
    const publisher = await publishTo([node(one)], streamKey);
    const holder = node([two, three].find((at) => publisher.timeline.origins?.includes(node(at).url)) ?? two);
    await waitFor('the stream to be live', async () => (await stateOf(holder, id)) === 'live');
    await Promise.all([publisher.vanish(), node(one).kill()]);
    expect(
      await waitFor(
        'the end to be noticed',
        async () => (await stateOf(holder, id)) === 'reconnecting' && true,
      ),
    ).toBe(true);
    // The key is free again, at any origin.
    const next = await waitFor('the key to be free', () =>
      publishTo([holder], streamKey).catch(() => undefined),
    );
    expect(next.grant.fencingToken).toBeGreaterThan(publisher.grant.fencingToken);
    await next.end();
    await node(one).start();
    await origins.settled();
  });

  it('end everywhere when the stream is deleted at any origin', async () => {
    const { id, streamKey } = await createStream(node(three));
    const publisher = await publishTo([node(one)], streamKey);
    expect((await node(three).call('DELETE', `/api/v1/streams/${id}`)).status).toBe(204);
    for (const at of [one, two, three])
      await waitFor(
        'it to be gone',
        async () => (await fetch(`${node(at).url}/live/${id}/master.m3u8`)).status === 404,
        { deadlineMs: 15_000 },
      );
    await publisher.vanish();
  });
});
