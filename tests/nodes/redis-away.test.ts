import { afterEach, describe, expect, it } from 'vitest';
import { createStream, publishTo, type NodesPublisher } from '#tests/support/nodes-publisher.ts';
import { SeenBodies, watchNodes, type NodesViewer } from '#tests/support/nodes-viewer.ts';
import { startOriginNodes, type OriginNode, type OriginNodes } from '#tests/support/origin-nodes.ts';
import { startRedis, startRedisCluster } from '#tests/support/redis-server.ts';
import { hasNoPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

const GOES_ON_MS = 15_000;

describe.skipIf(hasNoPostgres)('origins that lose their Redis', () => {
  const closing: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).toReversed()) await close();
  });

  const start = async (redisUrl: string): Promise<OriginNodes> => {
    const origins = await startOriginNodes(3, redisUrl);
    closing.push(() => origins.close());
    return origins;
  };
  const goLive = async (
    origins: OriginNodes,
    asked: readonly OriginNode[] = origins.nodes,
  ): Promise<{ publisher: NodesPublisher; viewers: NodesViewer[]; holders: OriginNode[] }> => {
    const { id, streamKey } = await createStream(asked[0] as OriginNode);
    const publisher = await publishTo(asked, streamKey);
    const bodies = new SeenBodies();
    const viewers = origins.nodes.map((_, first) =>
      watchNodes(origins.nodes, `/live/${id}/720p`, bodies, first),
    );
    closing.push(
      () => publisher.vanish(),
      () => Promise.all(viewers.map((viewer) => viewer.stop())),
    );
    await waitFor('everybody to see pictures', () => viewers.every((viewer) => viewer.newest() > 0));
    const urls = publisher.timeline.origins ?? [];
    const holders = urls.map((url) => origins.nodes.find((node) => node.url === url) as OriginNode);
    return { publisher, viewers, holders };
  };
  const goesOn = async (what: string, viewers: readonly NodesViewer[], segments = 2): Promise<void> => {
    const targets = viewers.map((viewer) => viewer.newest() + segments * 1_000);
    await waitFor(what, () => viewers.every((viewer, index) => viewer.newest() >= (targets[index] ?? 0)), {
      deadlineMs: GOES_ON_MS,
    });
    expect(viewers.flatMap(({ violations }) => violations)).toEqual([]);
  };

  it('keep one another, take new streams, and replace one that dies meanwhile', async () => {
    const redis = await startRedis();
    closing.push(() => redis.close());
    const origins = await start(redis.url);
    const first = await goLive(origins);
    await redis.kill();
    for (const node of origins.nodes)
      await waitFor('the bus to be cut off', async () => (await node.metric('bus_connected')) === 0);
    await goesOn('pictures without Redis', first.viewers);
    await origins.settled();
    const second = await goLive(origins);
    expect(second.publisher.timeline.origins).toHaveLength(2);
    const [owner] = first.holders as [OriginNode];
    await owner.kill();
    await goesOn('pictures without Redis and without the owner', [...first.viewers, ...second.viewers]);
    const left = origins.nodes.filter((node) => node !== owner);
    await origins.settled(left);
    await redis.start();
    for (const node of left)
      await waitFor('the bus to work again', async () => (await node.metric('bus_connected')) === 1);
    await owner.start();
    await origins.settled();
    await goesOn('pictures with Redis back', first.viewers);
  });

  it('go on when a master of a 6-node cluster dies', async () => {
    const redis = await startRedisCluster(1);
    closing.push(() => redis.close());
    const origins = await start(redis.url);
    const { publisher, viewers } = await goLive(origins);
    await redis.nodes[0]?.kill();
    await goesOn('pictures while the cluster elects another master', viewers, 3);
    for (const node of origins.nodes)
      await waitFor('the bus to work again', async () => (await node.metric('bus_connected')) === 1, {
        deadlineMs: 20_000,
      });
    await origins.settled();
    const another = await goLive(origins);
    expect(another.publisher.timeline.origins).toHaveLength(2);
    expect(publisher.fatal()).toBeUndefined();
  });
});
