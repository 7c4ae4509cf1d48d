import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createStream, publishTo, type NodesPublisher } from '#tests/support/nodes-publisher.ts';
import { SeenBodies, watchNodes, type NodesViewer } from '#tests/support/nodes-viewer.ts';
import { startOriginNodes, type OriginNode, type OriginNodes } from '#tests/support/origin-nodes.ts';
import { startRedis, type TestRedis } from '#tests/support/redis-server.ts';
import { hasNoPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

describe.skipIf(hasNoPostgres)('a rolling restart of all origins', () => {
  let redis: TestRedis;
  let origins: OriginNodes;
  let publisher: NodesPublisher;
  let viewers: NodesViewer[];

  beforeAll(async () => {
    redis = await startRedis();
    origins = await startOriginNodes(3, redis.url);
    const { id, streamKey } = await createStream(origins.nodes[0] as OriginNode);
    publisher = await publishTo(origins.nodes, streamKey);
    const bodies = new SeenBodies();
    viewers = Array.from({ length: 6 }, (_, first) =>
      watchNodes(origins.nodes, `/live/${id}/${first % 2 === 0 ? '720p' : 'audio'}`, bodies, first),
    );
    await waitFor('everybody to see pictures', () => viewers.every((viewer) => viewer.newest() > 0));
  }, 60_000);
  afterAll(async () => {
    await Promise.all((viewers ?? []).map((viewer) => viewer.stop()));
    await publisher?.vanish();
    await origins?.close();
    await redis?.close();
  });

  const goesOn = async (what: string): Promise<void> => {
    const targets = viewers.map((viewer) => viewer.newest() + 2_000);
    await waitFor(what, () => viewers.every((viewer, index) => viewer.newest() >= (targets[index] ?? 0)), {
      deadlineMs: 20_000,
    });
  };

  it('shows players nothing: no gap, no number back, no other bytes', async () => {
    for (const node of origins.nodes) {
      expect(await node.stop()).toBe(0);
      await goesOn('pictures without one of them');
      await node.start();
      await origins.settled();
      await goesOn('pictures with it back');
    }
    expect(viewers.flatMap(({ violations }) => violations)).toEqual([]);
    expect(viewers.map((viewer) => viewer.gaps())).toEqual([0, 0, 0, 0, 0, 0]);
    expect(publisher.fatal()).toBeUndefined();
    // A player has some seconds in its buffer; whoever waits for an origin that is gone eats into them.
    expect(Math.max(...viewers.map((viewer) => viewer.longestWaitMs()))).toBeLessThan(6_000);
  });
});
