import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { installedKinds } from '#cdn/cdn-process.ts';
import { startLiveSystem, waitForLive, type LiveSystem } from '#tests/support/live-system.ts';
import { recordStream } from '#tests/support/ll-hls-client.ts';
import { startLocalCdn } from '#tests/support/local-cdn.ts';
import { expectConformance, expectMedia } from '#tests/support/run-judgement.ts';

const RECORD_MS = 10_000;

describe('what players see through a CDN', () => {
  let live: LiveSystem;
  beforeAll(async () => {
    live = await startLiveSystem();
  });
  afterAll(() => live?.close());

  // Every playlist, hinted part, segment and init segment goes through the cache and is held to the draft's rules.
  it.each(installedKinds())('conforms as it does at the origin (%s)', async (kind) => {
    const stream = await live.api.create({
      ladder: { rungs: [{ height: 180, bitrateBps: 300_000 }], preset: 'ultrafast' },
    });
    const { publisher } = await live.goLive(stream, { width: 320, height: 180, videoBitrate: '400k' });
    await waitForLive(stream);
    const cdn = await startLocalCdn(kind, { originUrl: live.process.originUrl });
    try {
      const recording = await recordStream(`${cdn.url}/live/${stream.id}/master.m3u8`);
      await delay(RECORD_MS);
      const run = await recording.stop();
      expect(run.renditions.every(({ url }) => url.startsWith(cdn.url))).toBe(true);
      expectMedia(run, { renditions: 2, partsEach: 18 });
      expectConformance(run);
    } finally {
      await publisher.kill();
      await cdn.close();
      await live.api.call('DELETE', `/api/v1/streams/${stream.id}`, 204);
    }
  });
});
