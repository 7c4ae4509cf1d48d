import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createStream, publishTo, type NodesPublisher } from '#tests/support/nodes-publisher.ts';
import { SeenBodies, watchNodes, type NodesViewer } from '#tests/support/nodes-viewer.ts';
import { startOriginNodes, type OriginNode, type OriginNodes } from '#tests/support/origin-nodes.ts';
import { startRedis, type TestRedis } from '#tests/support/redis-server.ts';
import { hasNoPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

/** Generous: what is asserted is that pictures go on, not how fast this machine is. */
const GOES_ON_MS = 15_000;

describe.skipIf(hasNoPostgres)('the origins that hold a stream', () => {
  let redis: TestRedis;
  let origins: OriginNodes;
  let publisher: NodesPublisher;
  let id: string;
  let bodies: SeenBodies;
  let viewers: NodesViewer[];
  let owner: OriginNode;
  let replica: OriginNode;
  let third: OriginNode;

  beforeAll(async () => {
    redis = await startRedis();
    origins = await startOriginNodes(3, redis.url);
    const stream = await createStream(origins.nodes[0] as OriginNode);
    ({ id } = stream);
    publisher = await publishTo(origins.nodes, stream.streamKey);
    const urls = publisher.timeline.origins ?? [];
    [owner, replica] = urls.map((url) => origins.nodes.find((node) => node.url === url)) as [
      OriginNode,
      OriginNode,
    ];
    third = origins.nodes.find((node) => !urls.includes(node.url)) as OriginNode;
    bodies = new SeenBodies();
    const path = `/live/${id}/720p`;
    viewers = [
      watchNodes([owner, replica], path, bodies),
      watchNodes([replica, owner], path, bodies),
      watchNodes([third, replica, owner], path, bodies),
    ];
    await waitFor('everybody to see pictures', () => viewers.every((viewer) => viewer.newest() > 0));
  }, 60_000);
  afterAll(async () => {
    await Promise.all((viewers ?? []).map((viewer) => viewer.stop()));
    await publisher?.vanish();
    await origins?.close();
    await redis?.close();
  });

  /** Waits until every viewer has seen `parts` new parts. */
  const goesOn = async (what: string, parts = 9): Promise<void> => {
    const targets = viewers.map((viewer) => viewer.newest() + Math.floor(parts / 6) * 1_000);
    await waitFor(what, () => viewers.every((viewer, index) => viewer.newest() >= (targets[index] ?? 0)), {
      deadlineMs: GOES_ON_MS,
    });
  };
  const expectNothingWrong = (): void => {
    expect(viewers.flatMap(({ violations }) => violations)).toEqual([]);
    expect(publisher.fatal()).toBeUndefined();
  };
  const holds = (node: OriginNode): Promise<boolean> =>
    waitFor(
      `${node.url} to hold the stream`,
      async () => (await node.metric('origin_live_parts_total', 'outcome="stored"')) > 0,
      { deadlineMs: GOES_ON_MS },
    );

  it('lose one by kill -9: the other serves on, and the third takes its place', async () => {
    await owner.kill();
    await goesOn('pictures without the owner', 12);
    await holds(third);
    await goesOn('pictures after the third took over', 6);
    expectNothingWrong();
    const text = async (node: OriginNode): Promise<string> =>
      (await fetch(`${node.url}/live/${id}/720p/index.m3u8`)).text();
    const same = await waitFor('the same playlist at both', async () => {
      const [one, two] = await Promise.all([text(replica), text(third)]);
      return one === two && one;
    });
    expect(same).not.toContain('GAP=YES');
  });

  it('are not disturbed by the lost one coming back', async () => {
    await owner.start();
    await origins.settled();
    await goesOn('pictures while it is back', 12);
    expectNothingWrong();
    const again = await fetch(`${owner.url}/live/${id}/720p/index.m3u8`);
    expect(again.status).toBe(200);
  });

  it('lose the other one too: nobody of the first two is left, pictures go on', async () => {
    await replica.kill();
    await goesOn('pictures from those that took over', 18);
    expectNothingWrong();
    expect(viewers.map((viewer) => viewer.gaps())).toEqual([0, 0, 0]);
    await replica.start();
    await origins.settled();
  });

  it('go on with a new timeline in the same playlists', async () => {
    const before = publisher.timeline;
    const after = await publisher.restart();
    expect(after.firstMsn).toBeGreaterThan(before.firstMsn);
    expect(after.origins).toHaveLength(2);
    await goesOn('pictures of the new timeline', 12);
    expectNothingWrong();
    const text = await (await fetch(`${third.url}/live/${id}/720p/index.m3u8`)).text();
    expect(text).toContain('#EXT-X-DISCONTINUITY\n');
    expect(text).not.toContain('#EXT-X-ENDLIST');
  });

  it('hang and come back: others have gone on, and it lets go of what it had', async () => {
    const [url] = publisher.timeline.origins ?? [];
    const hung = origins.nodes.find((node) => node.url === url) as OriginNode;
    hung.pause();
    await goesOn('pictures while one hangs', 18);
    hung.resume();
    await goesOn('pictures when it is back', 12);
    expectNothingWrong();
    const shown = await waitFor('the one that hung to show what the others show', async () => {
      const response = await fetch(`${hung.url}/live/${id}/720p/index.m3u8`);
      const newest = [...(await response.text()).matchAll(/#EXT-X-PART:.*URI="(\d+)\.(\d+)\.m4s"/g)].at(-1);
      const position = Number(newest?.[1]) * 1_000 + Number(newest?.[2]);
      return position >= Math.max(...viewers.map((viewer) => viewer.newest())) - 1 && response.status;
    });
    expect(shown).toBe(200);
  });
});
