import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NewStream } from '#bench/system/stream-api.ts';
import type { PublisherOptions } from '#tests/support/ffmpeg-publisher.ts';
import { startLiveSystem, type LiveSystem } from '#tests/support/live-system.ts';
import { recordStream } from '#tests/support/ll-hls-client.ts';
import type { RecordedRun } from '#tests/support/recorded-run.ts';
import { expectConformance, expectMedia } from '#tests/support/run-judgement.ts';

let live: LiveSystem;

/** Pictures are small: what is judged is the cutting, not the encoder. */
const SMALL_LADDER: NonNullable<NewStream['ladder']> = {
  rungs: [
    { height: 180, bitrateBps: 300_000 },
    { height: 120, bitrateBps: 150_000 },
  ],
  preset: 'ultrafast',
};
const SMALL: Partial<PublisherOptions> = { width: 320, height: 180, videoBitrate: '400k' };
const RECORD_MS = 12_000;

beforeAll(async () => {
  live = await startLiveSystem({ TRANSCODER_SESSIONS_MAX: '16' });
});
afterAll(() => live?.close());

/** Publishes with the options and records the stream, from its first playlist on, for 12 s. */
async function record(stream: NewStream, publisher: Partial<PublisherOptions>): Promise<RecordedRun> {
  const created = await live.api.create({ ladder: SMALL_LADDER, ...stream });
  const publishing = await live.goLive(created, { ...SMALL, ...publisher });
  try {
    const recording = await recordStream(created.playlistUrl);
    await delay(RECORD_MS);
    return await recording.stop();
  } finally {
    await publishing.publisher.kill();
    await live.api.call('DELETE', `/api/v1/streams/${created.id}`, 204);
  }
}

const PART_DURATIONS_MS = [333, 200];

// Small streams leave the machine idle most of the time: several are recorded at once (vitest's `maxConcurrency`).
describe.concurrent('every playlist is valid, for every rendition', () => {
  it.each(['25', '30000/1001', '30', '60'])(
    'at %s frames per second, with parts of ⅓ and of 0.2 s',
    async (frameRate) => {
      const runs = await Promise.all(
        PART_DURATIONS_MS.map((partDurationMs) => record({ partDurationMs }, { frameRate })),
      );
      for (const [index, run] of runs.entries()) {
        const partMs = PART_DURATIONS_MS[index] ?? 0;
        expectMedia(run, { renditions: 3, partsEach: Math.floor((RECORD_MS / partMs) * 0.7) });
        expectConformance(run);
        const target = run.renditions[0]?.answers[0]?.playlist?.partTargetS ?? 0;
        expect(target).toBeGreaterThan((partMs / 1_000) * 0.8);
        expect(target).toBeLessThan((partMs / 1_000) * 1.25);
      }
    },
  );

  it.each<[name: string, publisher: Partial<PublisherOptions>, renditions: number]>([
    ['without sound', { audio: 'none' }, 2],
    ['without a picture', { video: 'none' }, 1],
    [
      'in portrait with mono sound at 44.1 kHz',
      { width: 180, height: 320, channels: 1, sampleRateHz: 44_100 },
      3,
    ],
    ['of an odd shape with B-frames', { width: 322, height: 182, bFrames: 2 }, 3],
  ])('of a source %s', async (_, publisher, renditions) => {
    const run = await record({}, publisher);
    expectMedia(run, { renditions, partsEach: 20 });
    expect(run.renditions).toHaveLength(renditions);
    expectConformance(run);
  });
});
