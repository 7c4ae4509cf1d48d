import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CreatedStream, NewStream } from '#bench/system/stream-api.ts';
import type { PublisherOptions } from '#tests/support/ffmpeg-publisher.ts';
import { startLiveSystem, waitForPlaylist, type LiveSystem } from '#tests/support/live-system.ts';
import { recordStream } from '#tests/support/ll-hls-client.ts';
import { descendants } from '#tests/support/process-tree.ts';
import { expectConformance } from '#tests/support/run-judgement.ts';
import { waitFor, within } from '#tests/support/wait-for.ts';

// Children of the system are killed while streams run; what players see stays a valid live stream.
let live: LiveSystem;

const LADDER: NonNullable<NewStream['ladder']> = {
  rungs: [
    { height: 180, bitrateBps: 300_000 },
    { height: 120, bitrateBps: 150_000 },
  ],
};
const SMALL: Omit<PublisherOptions, 'rtmpUrl'> = { width: 320, height: 180, videoBitrate: '300k' };
/** An ffmpeg of the ladder, by the outputs that only it has. */
const LADDER_FFMPEG = /ffmpeg .*unix:/;

beforeAll(async () => {
  live = await startLiveSystem();
});
afterAll(() => live?.close());

const createStream = (): Promise<CreatedStream> => live.api.create({ ladder: LADDER });

/** Waits until whole segments of media follow the first discontinuity. */
function waitForMediaAfterBreak(playlist: string): Promise<unknown> {
  return waitForPlaylist(
    'media after a discontinuity',
    playlist,
    ({ segments }) => {
      const broken = segments.findIndex(({ discontinuity }) => discontinuity);
      const after = broken < 0 ? [] : segments.slice(broken);
      return after.filter(({ uri, gap }) => uri !== undefined && !gap).length >= 2;
    },
    20_000,
  );
}

describe('a child of the system that is killed', () => {
  it('an encoder is replaced behind a discontinuity, and another stream notices nothing', async () => {
    const [hit, healthy] = await Promise.all([createStream(), createStream()]);
    const { playlists } = await live.goLive(hit, SMALL);
    const [victim] = descendants(live.process.pid, LADDER_FFMPEG);
    const other = await live.goLive(healthy, SMALL);
    const recordings = await Promise.all([recordStream(hit.playlistUrl), recordStream(healthy.playlistUrl)]);
    process.kill(victim?.pid ?? 0, 'SIGKILL');
    await waitForMediaAfterBreak(playlists[0] ?? '');
    const [hitRun, healthyRun] = await Promise.all(recordings.map((recording) => recording.stop()));
    if (hitRun === undefined || healthyRun === undefined) throw new Error('a recording is missing');
    expectConformance(hitRun);
    expectConformance(healthyRun);
    const broken = healthyRun.renditions
      .flatMap(({ answers }) => answers)
      .flatMap(({ playlist }) => playlist?.segments ?? [])
      .filter(({ discontinuity, gap, parts }) => discontinuity || gap || parts.some((part) => part.gap));
    expect(broken).toEqual([]);
    await other.publisher.kill();
    await live.api.call('DELETE', `/api/v1/streams/${hit.id}`, 204);
    await live.api.call('DELETE', `/api/v1/streams/${healthy.id}`, 204);
  });

  it('the ingest is started again, and its broadcasters go on in the same playlist', async () => {
    const stream = await createStream();
    const { publisher, playlists } = await live.goLive(stream, SMALL);
    const recording = await recordStream(stream.playlistUrl);
    const [ingest] = descendants(live.process.pid, /transcoder\/ingest\//);
    process.kill(ingest?.pid ?? 0, 'SIGKILL');
    await within('the broadcaster to notice', 10_000, publisher.ended);
    // As an encoder does that connects again until somebody answers.
    await waitFor(
      'the ingest to take the broadcaster back',
      async () => {
        const again = await live.publish(stream, SMALL);
        const stayed = await Promise.race([
          again.ended.then(() => false),
          delay(1_500, true, { ref: false }),
        ]);
        return stayed;
      },
      { deadlineMs: 15_000, intervalMs: 250 },
    );
    await waitForMediaAfterBreak(playlists[0] ?? '');
    const run = await recording.stop();
    expect(run.renditions).toHaveLength(3);
    expectConformance(run);
  });
});

describe('a broadcaster that comes back with another picture', () => {
  it('goes on in the same playlists when the grid stays the same', async () => {
    const stream = await createStream();
    const { publisher, playlists } = await live.goLive(stream, SMALL);
    await publisher.kill();
    const recording = await recordStream(stream.playlistUrl);
    await live.publish(stream, { ...SMALL, width: 180, height: 320 });
    await waitForMediaAfterBreak(playlists[0] ?? '');
    const run = await recording.stop();
    expect(run.multivariant.variants[0]).toMatchObject({ width: 180, height: 320 });
    expectConformance(run);
  });
});
