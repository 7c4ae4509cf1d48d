import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { startPublisher, type Publisher } from '#tests/support/ffmpeg-publisher.ts';
import { createStream } from '#tests/support/nodes-publisher.ts';
import { SeenBodies, watchNodes, type NodesViewer } from '#tests/support/nodes-viewer.ts';
import {
  INGEST_TOKEN,
  startOriginNodes,
  type OriginNode,
  type OriginNodes,
} from '#tests/support/origin-nodes.ts';
import { startRedis, type TestRedis } from '#tests/support/redis-server.ts';
import { hasNoPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';
import { createTranscoder, type Transcoder } from '#transcoder/service.ts';
import { readTranscoderSettings } from '#transcoder/settings.ts';

const LIVE_DEADLINE_MS = 20_000;

describe.skipIf(hasNoPostgres)('a broadcast to two origins', () => {
  let redis: TestRedis;
  let origins: OriginNodes;
  let transcoder: Transcoder;
  let broadcaster: Publisher;
  let viewers: NodesViewer[];
  let id: string;

  beforeAll(async () => {
    redis = await startRedis();
    origins = await startOriginNodes(2, redis.url);
    const settings = readTranscoderSettings({
      INGEST_TOKEN,
      ORIGIN_URLS: origins.nodes.map(({ url }) => url).join(','),
      RTMP_PORT: '0',
      RTMP_HOST: '127.0.0.1',
      TRANSCODER_PORT: '0',
      TRANSCODER_HOST: '127.0.0.1',
    });
    const deps = { clock: systemClock, logger: createLogger('test', 'silent'), metrics: new Registry() };
    transcoder = await createTranscoder(settings, deps);
    const stream = await createStream(origins.nodes[0] as OriginNode, {
      ladder: { rungs: [{ height: 180, bitrateBps: 200_000 }], preset: 'ultrafast' },
    });
    ({ id } = stream);
    broadcaster = await startPublisher({
      rtmpUrl: `rtmp://127.0.0.1:${transcoder.rtmpPort}/app/${stream.streamKey}`,
      width: 320,
      height: 180,
    });
    const bodies = new SeenBodies();
    viewers = origins.nodes.map((_, first) => watchNodes(origins.nodes, `/live/${id}/audio`, bodies, first));
    await waitFor('everybody to hear it', () => viewers.every((viewer) => viewer.newest() > 0), {
      deadlineMs: LIVE_DEADLINE_MS,
    });
  }, 90_000);
  afterAll(async () => {
    await Promise.all((viewers ?? []).map((viewer) => viewer.stop()));
    await broadcaster?.kill();
    await transcoder?.close();
    await origins?.close();
    await redis?.close();
  });

  const goesOn = async (what: string): Promise<void> => {
    const targets = viewers.map((viewer) => viewer.newest() + 3_000);
    await waitFor(what, () => viewers.every((viewer, index) => viewer.newest() >= (targets[index] ?? 0)), {
      deadlineMs: 30_000,
    });
    expect(viewers.flatMap(({ violations }) => violations)).toEqual([]);
    expect(viewers.map((viewer) => viewer.gaps())).toEqual([0, 0]);
  };

  it('is the same at both', async () => {
    const texts = await waitFor('equal playlists', async () => {
      const all = await Promise.all(
        ['180p', 'audio'].map((rendition) =>
          Promise.all(
            origins.nodes.map(async ({ url }) =>
              (await fetch(`${url}/live/${id}/${rendition}/index.m3u8`)).text(),
            ),
          ),
        ),
      );
      return all.every(([one, two]) => one === two) && all.map(([text]) => text);
    });
    for (const text of texts) expect(text).toContain('#EXT-X-PART:');
  });

  it('goes on when the origin is killed that judged its key, and with that one back', async () => {
    const [first] = origins.nodes as [OriginNode];
    await first.kill();
    await goesOn('sound without it');
    await first.start();
    await origins.settled();
    await waitFor(
      'it to hold the stream again',
      async () => (await first.metric('origin_live_parts_total', 'outcome="stored"')) > 0,
    );
    await goesOn('sound with it back');
    const state = await Promise.race([broadcaster.ended, Promise.resolve('on the air')]);
    expect(state).toBe('on the air');
  });

  it('goes on when the other one is killed then', async () => {
    await (origins.nodes[1] as OriginNode).kill();
    await goesOn('sound from the one that came back');
    expect(await Promise.race([broadcaster.ended, Promise.resolve('on the air')])).toBe('on the air');
  });
});
