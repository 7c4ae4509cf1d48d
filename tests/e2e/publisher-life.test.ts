import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listedParts } from '#bench/hls/live-edge.ts';
import type { CreatedStream, NewStream } from '#bench/system/stream-api.ts';
import type { Publisher, PublisherOptions } from '#tests/support/ffmpeg-publisher.ts';
import {
  getMediaPlaylist,
  startLiveSystem,
  waitForPlaylist,
  type LiveSystem,
} from '#tests/support/live-system.ts';
import { recordStream, type RunRecording } from '#tests/support/ll-hls-client.ts';
import { descendants } from '#tests/support/process-tree.ts';
import { expectConformance } from '#tests/support/run-judgement.ts';
import { within } from '#tests/support/wait-for.ts';

let live: LiveSystem;

const LADDER: NonNullable<NewStream['ladder']> = {
  rungs: [
    { height: 180, bitrateBps: 300_000 },
    { height: 120, bitrateBps: 150_000 },
  ],
};
const SMALL: Omit<PublisherOptions, 'rtmpUrl'> = { width: 320, height: 180, videoBitrate: '300k' };

beforeAll(async () => {
  live = await startLiveSystem();
});
afterAll(() => live?.close());

/** A stream that is on the air, its publisher, and the URL of its first media playlist. */
async function onAir(
  stream: NewStream = {},
): Promise<{ stream: CreatedStream; publisher: Publisher; playlist: string }> {
  const created = await live.api.create({ ladder: LADDER, ...stream });
  const {
    publisher,
    playlists: [playlist = ''],
  } = await live.goLive(created, SMALL);
  await waitForPlaylist(
    'two whole segments',
    playlist,
    ({ segments }) => segments.filter(({ uri }) => uri !== undefined).length >= 2,
  );
  return { stream: created, publisher, playlist };
}

async function status(stream: CreatedStream): Promise<string> {
  const answer = await live.api.call('GET', `/api/v1/streams/${stream.id}`, 200);
  return (answer as { status: string }).status;
}

/** Different parts with GAP=YES that the first rendition has listed so far. */
function gapPartsSeen({ renditions: [rendition] }: RunRecording): number {
  const parts = rendition?.answers.flatMap(({ playlist }) =>
    playlist === undefined ? [] : listedParts(playlist),
  );
  return new Set(parts?.filter(({ gap }) => gap).map(({ uri }) => uri)).size;
}

describe('a publisher that is killed and comes back', () => {
  it('leaves gaps at the same cadence, then a discontinuity in the same playlist, and ENDLIST at the end', async () => {
    const { stream, publisher, playlist } = await onAir();
    const recording = await recordStream(stream.playlistUrl);
    await publisher.kill();
    await waitForPlaylist(
      'a gap',
      playlist,
      ({ segments }) => segments.some(({ parts }) => parts.some(({ gap }) => gap)),
      6_000,
    );
    expect(await status(stream)).toBe('reconnecting');
    const gapsAtFirst = gapPartsSeen(recording);
    await delay(3_000);
    // Nine parts of ⅓ s are due; half of them are enough to tell the cadence from a single late burst.
    expect(gapPartsSeen(recording) - gapsAtFirst).toBeGreaterThanOrEqual(5);

    const second = await live.publish(stream, SMALL);
    await waitForPlaylist(
      'a discontinuity',
      playlist,
      ({ segments }) => segments.some(({ discontinuity }) => discontinuity),
      10_000,
    );
    const after = await waitForPlaylist(
      'media after the discontinuity',
      playlist,
      ({ segments }) =>
        segments
          .slice(segments.findIndex(({ discontinuity }) => discontinuity))
          .filter(({ uri, gap }) => uri !== undefined && !gap).length >= 2,
    );
    expect(after.segments.some(({ gap }) => gap)).toBe(true);
    expect(await status(stream)).toBe('live');

    await second.stop();
    await waitForPlaylist('EXT-X-ENDLIST', playlist, ({ endlist }) => endlist, 25_000);
    await within('the end of all playlists', 10_000, recording.ended);
    expectConformance(await recording.stop());
    expect(await status(stream)).toBe('offline');
    expect(descendants(live.process.pid, /^ffmpeg|\/ffmpeg/)).toEqual([]);
  });
});

describe('who may not publish', () => {
  it('a second publisher is refused and the first loses nothing', async () => {
    const { stream, publisher, playlist } = await onAir();
    const recording = await recordStream(stream.playlistUrl);
    const second = await live.publish(stream, SMALL);
    const { code } = await within('the refusal', 10_000, second.ended);
    expect(code).not.toBe(0);
    await delay(3_000);
    const { segments } = await getMediaPlaylist(playlist);
    expect(segments.filter(({ discontinuity, gap }) => discontinuity || gap)).toEqual([]);
    expectConformance(await recording.stop());
    await publisher.kill();
  });

  it('a wrong key is refused', async () => {
    const stream = await live.api.create({});
    const publisher = await live.publish({ ...stream, streamKey: 'not-a-key' }, SMALL);
    const { code } = await within('the refusal', 10_000, publisher.ended);
    expect(code).not.toBe(0);
    expect((await fetch(stream.playlistUrl)).status).not.toBe(200);
  });
});

describe('a right to publish that is taken away', () => {
  const END_DEADLINE_MS = 5_000;

  it('ends the publish within 5 s when the key is rotated; only the new key works', async () => {
    const { stream, publisher } = await onAir();
    const { streamKey } = (await live.api.call('POST', `/api/v1/streams/${stream.id}/keys`, 201)) as {
      streamKey: string;
    };
    await within('the end of the publish', END_DEADLINE_MS, publisher.ended);
    const old = await live.publish(stream, SMALL);
    expect((await within('the refusal of the old key', 10_000, old.ended)).code).not.toBe(0);
    const fresh = await live.publish({ ...stream, streamKey }, { ...SMALL, durationS: 3 });
    expect((await within('the end of 3 s of media', 10_000, fresh.ended)).code).toBe(0);
  });

  it('ends the publish within 5 s when the stream is deleted', async () => {
    const { stream, publisher, playlist } = await onAir();
    await live.api.call('DELETE', `/api/v1/streams/${stream.id}`, 204);
    await within('the end of the publish', END_DEADLINE_MS, publisher.ended);
    expect((await fetch(playlist)).status).toBe(404);
    expect((await fetch(stream.playlistUrl)).status).toBe(404);
  });
});
