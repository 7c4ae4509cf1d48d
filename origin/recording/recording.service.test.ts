import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { readMediaPlaylist } from '#protocol/hls/read-media-playlist.ts';
import { makePresentation } from '#origin/live/testing/synthetic-media.ts';
import { parseMultivariantStrictly, parseStrictly } from '#origin/live/testing/strict-parser.ts';
import { OriginUnderTest } from '#origin/testing/origin-under-test.ts';
import {
  bodyOf,
  expectSameBodies,
  metric,
  playlistText,
  recorded,
  see,
} from '#tests/support/recorded-viewer.ts';
import { hasNoPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const presentation = makePresentation({ segmentDurationMs: 1_000, partDurationMs: 333 });

async function start(env: Readonly<Record<string, string>> = {}): Promise<OriginUnderTest> {
  const origin = await OriginUnderTest.start({ LIVE_WINDOW_S: '60', ...env });
  closing.push(() => origin.close());
  return origin;
}

async function publish(origin: OriginUnderTest, segments: number, body: object = {}) {
  const stream = await origin.createStream({ segmentDurationMs: 1_000, reconnectWindow: 0, ...body });
  const { body: grant } = await origin.authorise(stream.streamKey);
  const timeline = await origin.publish(grant, segments, presentation);
  return { id: stream.id, streamKey: stream.streamKey, grant, timeline };
}

async function end(origin: OriginUnderTest, { id, grant }: Awaited<ReturnType<typeof publish>>) {
  const { sessionId, fencingToken } = grant;
  await origin.ingest(`${id}/end`, { sessionId, fencingToken, reason: 'unpublished' });
}

type Recording = { id: string; status: string; playback: { hls: string }; expiresAt: string | null };
async function recordingsOf(origin: OriginUnderTest, id: string): Promise<Recording[]> {
  const { body } = await origin.call<{ recordings: Recording[] }>('GET', `/api/v1/streams/${id}/recordings`);
  return body.recordings;
}

const ended = (origin: OriginUnderTest, id: string): Promise<Recording> =>
  waitFor('the recording to end', async () =>
    (await recordingsOf(origin, id)).find(({ status }) => status === 'ended'),
  );

const objectsIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /\.(m4s|mp4)$/.test(name));

describe.skipIf(hasNoPostgres)('a stream that has ended', () => {
  it('is a VOD at the same URLs, with the same bytes, and has an address of its own', async () => {
    const origin = await start({ LIVE_ENDED_RETENTION_S: '3' });
    const live = await publish(origin, 12);
    const watched = await see(origin, `/live/${live.id}/720p/index.m3u8`);
    await end(origin, live);
    const recording = await ended(origin, live.id);
    const text = await waitFor('the URL to be handed over', async () => {
      const now = await playlistText(origin, `/live/${live.id}/720p/index.m3u8`);
      return now.includes('PLAYLIST-TYPE:VOD') && now;
    });
    const vod = parseStrictly(text);
    expect(vod).toMatchObject({
      playlistType: 'VOD',
      endlist: true,
      mediaSequenceBase: live.timeline.firstMsn,
    });
    expect(vod.segments).toHaveLength(12);
    expect(text).not.toMatch(/EXT-X-(PART|GAP|SERVER-CONTROL|PRELOAD)/);
    expect(readMediaPlaylist(text)).toMatchObject({ ended: true, segmentCount: 12, targetDurationS: 1 });
    expectSameBodies(watched, await see(origin, `/live/${live.id}/720p/index.m3u8`));
    const offered = parseMultivariantStrictly(await playlistText(origin, `/live/${live.id}/master.m3u8`));
    expect(offered.variants.map(({ uri }) => uri).toSorted()).toEqual(['360p/index.m3u8', '720p/index.m3u8']);

    // The next session takes the stream's URLs; the recording keeps its own.
    const { body: grant } = await origin.authorise(live.streamKey);
    const next = await origin.publish(grant, 3, presentation);
    expect(next.firstMsn).toBeGreaterThan(live.timeline.firstMsn + 12);
    const now = await playlistText(origin, `/live/${live.id}/720p/index.m3u8`);
    expect(now).toContain(`#EXT-X-MEDIA-SEQUENCE:${next.firstMsn}\n`);
    const base = new URL(recording.playback.hls).pathname;
    parseMultivariantStrictly(await playlistText(origin, base));
    const kept = await see(origin, base.replace('master.m3u8', '720p/index.m3u8'));
    expect(kept.media.size).toBe(13);
    const keptByName = new Map([...kept.media].map(([uri, body]) => [uri.split('/').at(-1) ?? '', body]));
    expectSameBodies(watched, { text: kept.text, media: keptByName });
  });

  it('is served by the workers of an origin too, as well as what can be rewound', async () => {
    const origin = await start({ LIVE_ENDED_RETENTION_S: '3', ORIGIN_WORKERS: '1' });
    const live = await publish(origin, 8);
    const path = `/live/${live.id}/720p/index.m3u8`;
    const watched = await see(origin, path);
    const dvr = await playlistText(origin, path.replace('index', 'dvr'));
    expect(parseStrictly(dvr).segments).toHaveLength(8);
    await end(origin, live);
    await waitFor('the URL to be handed over', async () =>
      (await playlistText(origin, path)).includes('PLAYLIST-TYPE:VOD'),
    );
    expectSameBodies(watched, await see(origin, path));
    const recording = await ended(origin, live.id);
    parseMultivariantStrictly(await playlistText(origin, new URL(recording.playback.hls).pathname));
    expect((await origin.call('GET', `/live/nobody/dvr.m3u8`)).status).toBe(404);
  });

  it('is deleted when its time is over', async () => {
    const origin = await start();
    const live = await publish(origin, 6, { retention: 2 });
    await end(origin, live);
    await waitFor(
      'the objects to be deleted',
      async () =>
        (await metric(origin, 'origin_recording_deleted_objects_total')) > 0 &&
        objectsIn(join(origin.dataDir, 'objects')).length === 0,
      { deadlineMs: 40_000, intervalMs: 500 },
    );
    expect(await recordingsOf(origin, live.id)).toEqual([]);
  });

  it('leaves nothing when nothing is to be kept', async () => {
    const origin = await start();
    const live = await publish(origin, 6, { retention: 0, dvrWindow: 0 });
    await end(origin, live);
    expect(objectsIn(join(origin.dataDir, 'objects'))).toEqual([]);
    expect((await origin.call('GET', `/live/${live.id}/dvr.m3u8`)).status).toBe(404);
    expect(await playlistText(origin, `/live/${live.id}/720p/index.m3u8`)).toContain('EXTINF');
  });
});

describe.skipIf(hasNoPostgres)('a stream that can be rewound', () => {
  it('lists at dvr.m3u8 what has left its live playlist, and serves it from the store', async () => {
    const env = { LIVE_WINDOW_S: '10', LIVE_STREAM_MEMORY_MIB: '8' };
    const dataDir = mkdtempSync(join(tmpdir(), 'livehls-dvr-'));
    closing.push(() => rmSync(dataDir, { recursive: true, force: true, maxRetries: 5 }));
    const first = await start({ ...env, DATA_DIR: dataDir });
    const live = await publish(first, 10, { reconnectWindow: 60 });
    const beat = first.keepAlive(live.grant);
    closing.push(() => void beat.stop());
    const watched = await see(first, `/live/${live.id}/720p/index.m3u8`);
    // In real time, as far as the live window does not reach ahead.
    const cells = Array.from({ length: 12 * presentation.partsPerSegment }, (_, cell) => cell);
    for (const cell of cells)
      for (const { id } of presentation.renditions)
        await waitFor(
          'the part to be taken',
          async () =>
            (await first.putPart(
              live.grant,
              live.timeline,
              presentation,
              id,
              10 * presentation.partsPerSegment + cell,
            )) === 201,
          { deadlineMs: 20_000, intervalMs: 200 },
        );
    await recorded(first);
    const now = parseStrictly(await playlistText(first, `/live/${live.id}/720p/index.m3u8`));
    expect(now.mediaSequenceBase).toBeGreaterThan(live.timeline.firstMsn);
    const text = await playlistText(first, `/live/${live.id}/720p/dvr.m3u8`);
    const dvr = parseStrictly(text);
    expect(dvr).toMatchObject({ endlist: false, mediaSequenceBase: live.timeline.firstMsn });
    expect(dvr.segments).toHaveLength(22);
    expect(readMediaPlaylist(text)).toMatchObject({ canBlockReload: true, segmentCount: 22 });
    const delta = await playlistText(first, `/live/${live.id}/720p/dvr.m3u8?_HLS_skip=YES`);
    expect(readMediaPlaylist(delta)).toMatchObject({ segmentCount: 22, skippedSegments: 15 });
    const offered = parseMultivariantStrictly(await playlistText(first, `/live/${live.id}/dvr.m3u8`));
    expect(offered.variants.map(({ uri }) => uri).toSorted()).toEqual(['360p/dvr.m3u8', '720p/dvr.m3u8']);
    const held = playlistText(
      first,
      `/live/${live.id}/720p/dvr.m3u8?_HLS_msn=${live.timeline.firstMsn + 22}&_HLS_skip=YES`,
    );
    const last = Array.from(
      { length: presentation.partsPerSegment },
      (_, cell) => 22 * presentation.partsPerSegment + cell,
    );
    for (const cell of last)
      for (const { id } of presentation.renditions)
        await waitFor(
          'the part to be taken',
          async () => (await first.putPart(live.grant, live.timeline, presentation, id, cell)) === 201,
          { intervalMs: 200 },
        );
    expect(readMediaPlaylist(await held)).toMatchObject({ segmentCount: 23 });
    await recorded(first);
    const all = await playlistText(first, `/live/${live.id}/720p/dvr.m3u8`);
    await beat.stop();
    await first.stop();

    // Another process has none of it in memory.
    const second = await start({ ...env, DATA_DIR: dataDir });
    const rewound = await see(second, `/live/${live.id}/720p/dvr.m3u8`);
    expect(rewound.text).toBe(all);
    expectSameBodies(watched, rewound);
    const before = await metric(second, 'origin_recording_reads_total', 'from="store"');
    await Promise.all(
      Array.from({ length: 20 }, () => bodyOf(second, `/live/${live.id}/360p/${live.timeline.firstMsn}.m4s`)),
    );
    expect(await metric(second, 'origin_recording_reads_total', 'from="store"')).toBe(before + 1);
  });
});

describe.skipIf(hasNoPostgres)('deleting a stream', () => {
  it('deletes its objects, spool and index', async () => {
    const origin = await start();
    const live = await publish(origin, 8);
    await recorded(origin);
    expect(objectsIn(join(origin.dataDir, 'objects'))).toHaveLength(27);
    expect((await origin.call('DELETE', `/api/v1/streams/${live.id}`)).status).toBe(204);
    await waitFor(
      'the objects to be deleted',
      () => objectsIn(join(origin.dataDir, 'objects')).length === 0,
      { deadlineMs: 20_000 },
    );
    await waitFor('the spool to be empty', () =>
      readdirSync(join(origin.dataDir, 'spool'), { recursive: true, withFileTypes: true }).every(
        (entry) => !entry.isFile(),
      ),
    );
    const segment = `/live/${live.id}/720p/${live.timeline.firstMsn}.m4s`;
    expect((await origin.call('GET', segment)).status).toBe(404);
  });
});

describe.skipIf(hasNoPostgres)('a disk that is full', () => {
  const canMount = process.platform === 'linux' && process.getuid?.() === 0;

  it.skipIf(!canMount)('costs the recording, not the live stream', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'livehls-full-'));
    closing.push(() => rmSync(dataDir, { recursive: true, force: true, maxRetries: 5 }));
    for (const name of ['spool', 'objects']) {
      const folder = join(dataDir, name);
      mkdirSync(folder);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=32k', 'tmpfs', folder]);
      closing.push(() => void execFileSync('umount', ['-l', folder]));
    }
    const origin = await OriginUnderTest.start({ DATA_DIR: dataDir, RECORDING_QUEUE_MIB: '1' });
    closing.push(() => origin.stop());
    const live = await publish(origin, 20);
    const seen = await see(origin, `/live/${live.id}/720p/index.m3u8`);
    expect(seen.media.size).toBeGreaterThan(20);
    expect(await metric(origin, 'origin_recording_spool_failures_total', 'reason="full"')).toBeGreaterThan(0);
    expect(await metric(origin, 'origin_recording_uploads_total', 'outcome="failed"')).toBeGreaterThan(0);
  });
});

describe.skipIf(hasNoPostgres)('requests for what is not there', () => {
  it('are answered with a 4xx', async () => {
    const origin = await start();
    const { id } = await origin.createStream();
    for (const path of [
      `/live/${id}/dvr.m3u8`,
      `/live/${id}/720p/dvr.m3u8`,
      `/live/${id}/720p/index.m3u8`,
      `/live/${id}/720p/1.m4s`,
      `/live/${id}/720p/init-1.mp4`,
      `/live/${id}/recordings/1/master.m3u8`,
      `/live/${id}/recordings/1/720p/index.m3u8`,
      `/live/${id}/recordings/../../x/master.m3u8`,
      `/live/${id}/recordings/%2e%2e/master.m3u8`,
      `/live/${id}/recordings/1/720p/1.m4s`,
      `/live/${id}/recordings/${'9'.repeat(30)}/master.m3u8`,
      '/live/nobody/dvr.m3u8',
      '/live/nobody/recordings/1/master.m3u8',
    ]) {
      const answer = await origin.call<{ code: string }>('GET', path, { token: null });
      expect({ path, class: Math.floor(answer.status / 100) }).toEqual({ path, class: 4 });
    }
    expect((await origin.call('GET', `/api/v1/streams/${id}/recordings`, { token: null })).status).toBe(401);
    expect((await origin.call('GET', '/api/v1/streams/nobody/recordings')).status).toBe(404);
    expect((await origin.call('POST', `/api/v1/streams/${id}/recordings`)).status).toBe(405);
  });
});
