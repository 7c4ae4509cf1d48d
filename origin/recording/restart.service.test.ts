import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { PublishGrant, TimelineGrant } from '#protocol/ingest/publish-session.ts';
import { makePresentation } from '#origin/live/testing/synthetic-media.ts';
import { parseStrictly } from '#origin/live/testing/strict-parser.ts';
import type { OriginUnderTest } from '#origin/testing/origin-under-test.ts';
import { startOriginProcess, type OriginProcess } from '#tests/support/origin-process.ts';
import { expectSameBodies, metric, playlistText, recorded, see } from '#tests/support/recorded-viewer.ts';
import { startS3, type TestS3 } from '#tests/support/s3-server.ts';
import { hasNoPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const presentation = makePresentation();
const RENDITIONS = presentation.renditions.map(({ id }) => id);
const cellsOf = (segments: number): number => segments * presentation.partsPerSegment;

function dataFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'livehls-restart-'));
  closing.push(() => Promise.resolve(rmSync(folder, { recursive: true, force: true, maxRetries: 5 })));
  return folder;
}

async function start(env: Readonly<Record<string, string>> & { DATA_DIR: string }): Promise<OriginProcess> {
  const child = await startOriginProcess(env);
  closing.push(() => child.kill());
  return child;
}

async function publish(origin: OriginUnderTest, body: object = {}) {
  const stream = await origin.createStream(body);
  const { body: grant } = await origin.authorise(stream.streamKey);
  const timeline = await origin.publish(grant, 8, presentation);
  return { id: stream.id, grant, timeline };
}

async function put(
  origin: OriginUnderTest,
  { grant, timeline }: { grant: PublishGrant; timeline: TimelineGrant },
  cells: readonly number[],
): Promise<number[]> {
  const statuses: number[] = [];
  for (const cell of cells)
    for (const id of RENDITIONS) statuses.push(await origin.putPart(grant, timeline, presentation, id, cell));
  return statuses;
}

/** A playlist without what it says of its peers, which may have come one part further since. */
const listed = (text: string): string => text.replaceAll(/^#EXT-X-RENDITION-REPORT.*\n/gm, '');

const seeAll = (origin: OriginUnderTest, id: string) =>
  Promise.all(RENDITIONS.map((rendition) => see(origin, `/live/${id}/${rendition}/index.m3u8`)));

describe.skipIf(hasNoPostgres)('an origin that is killed during a live stream', () => {
  it('goes on with the same segments, numbers and bytes, and takes the next part of the same timeline', async () => {
    const DATA_DIR = dataFolder();
    const first = await start({ DATA_DIR });
    const live = await publish(first.origin);
    await recorded(first.origin);
    // The newest are in the spool only: a whole segment, and one that is open.
    const cells = Array.from({ length: presentation.partsPerSegment + 3 }, (_, cell) => cellsOf(8) + cell);
    expect(new Set(await put(first.origin, live, cells))).toEqual(new Set([201]));
    const before = await seeAll(first.origin, live.id);
    await first.kill();

    const second = await start({ DATA_DIR });
    const after = await seeAll(second.origin, live.id);
    expect(after.map(({ text }) => listed(text))).toEqual(before.map(({ text }) => listed(text)));
    before.forEach((seen, index) => expectSameBodies(seen, after[index] ?? seen));

    const partStart = performance.now();
    const next = await put(second.origin, live, [cellsOf(9) + 3]);
    expect(next).toEqual([201, 201, 201]);
    const grown = await playlistText(second.origin, `/live/${live.id}/720p/index.m3u8`);
    expect(performance.now() - partStart).toBeLessThan(2_000);
    expect(grown).toContain(`${live.timeline.firstMsn + 9}.3.m4s"`);
    expect(grown).not.toContain('EXT-X-DISCONTINUITY\n');
    expect(grown).not.toContain('GAP');
    // Told again what it has: the same, not another.
    expect(await put(second.origin, live, [cellsOf(9) + 2])).toEqual([200, 200, 200]);
    parseStrictly(grown);
  });

  it('lists what it missed as gaps, with a discontinuity where a new timeline begins', async () => {
    const DATA_DIR = dataFolder();
    const first = await start({ DATA_DIR });
    const live = await publish(first.origin);
    await recorded(first.origin);
    await first.kill();
    const second = await start({ DATA_DIR });
    const grown = await second.origin.publish(live.grant, 2, presentation);
    expect(grown.firstMsn).toBeGreaterThan(live.timeline.firstMsn + 7);
    const text = await playlistText(second.origin, `/live/${live.id}/720p/index.m3u8`);
    expect(text).toContain(`#EXT-X-MEDIA-SEQUENCE:${live.timeline.firstMsn}\n`);
    expect(text.match(/#EXT-X-DISCONTINUITY\n/g)).toHaveLength(1);
    const playlist = parseStrictly(text);
    expect(playlist.segments.length).toBeGreaterThanOrEqual(10);
  });

  it('ends the stream when its broadcaster does not come back, and keeps it', async () => {
    const DATA_DIR = dataFolder();
    const first = await start({ DATA_DIR });
    const live = await publish(first.origin, { reconnectWindow: 0 });
    await recorded(first.origin);
    await first.kill();
    const second = await start({ DATA_DIR });
    type List = { recordings: { id: string; status: string; playback: { hls: string } }[] };
    const recording = await waitFor(
      'the recording to end',
      async () => {
        const { body } = await second.origin.call<List>('GET', `/api/v1/streams/${live.id}/recordings`);
        return body.recordings.find(({ status }) => status === 'ended');
      },
      { deadlineMs: 20_000, intervalMs: 200 },
    );
    expect(recording.id).toBe(String(live.timeline.firstMsn));
    const base = new URL(recording.playback.hls).pathname.replace('master.m3u8', '');
    const seen = await see(second.origin, `${base}720p/index.m3u8`);
    expect(parseStrictly(seen.text)).toMatchObject({ playlistType: 'VOD', endlist: true });
    expect(seen.media.size).toBe(9);
  });
});

describe.skipIf(hasNoPostgres)('an S3 server that is away', () => {
  let s3: TestS3;

  it('is not noticed by viewers, not even when the origin is killed, and gets everything when it is back', async () => {
    s3 = await startS3();
    closing.push(() => s3.close());
    const env = { DATA_DIR: dataFolder(), RECORDING_QUEUE_MIB: '1', ...s3.env };
    const first = await start(env);
    const live = await publish(first.origin);
    await recorded(first.origin);
    await s3.kill();
    const cells = Array.from({ length: cellsOf(4) }, (_, cell) => cellsOf(8) + cell);
    expect(new Set(await put(first.origin, live, cells))).toEqual(new Set([201]));
    const before = await seeAll(first.origin, live.id);
    expect(await metric(first.origin, 'origin_recording_queue_objects')).toBe(12);
    await first.kill();

    const second = await start(env);
    const path = `/live/${live.id}/720p/index.m3u8`;
    expect(listed(await playlistText(second.origin, path))).toBe(listed(before[0]?.text ?? ''));
    // What is in the spool can be read, what is not is refused in a way that caches forget.
    const newest = `/live/${live.id}/720p/${live.timeline.firstMsn + 11}.m4s`;
    expect((await second.origin.call('GET', newest)).status).toBe(200);
    const oldest = await second.origin.call('GET', `/live/${live.id}/720p/${live.timeline.firstMsn}.m4s`);
    expect(oldest.status).toBe(503);
    expect(oldest.headers.get('cache-control')).toBe('public, max-age=5');
    expect(new Set(await put(second.origin, live, [cellsOf(12)]))).toEqual(new Set([201]));

    await s3.start();
    const backAt = performance.now();
    await recorded(second.origin, 60_000);
    expect(performance.now() - backAt).toBeLessThan(60_000);
    expect(await metric(second.origin, 'origin_recording_lost_segments_total')).toBe(0);
    for (const [index, seen] of before.entries())
      expectSameBodies(seen, await see(second.origin, `/live/${live.id}/${RENDITIONS[index]}/index.m3u8`));
  });

  it('that hangs is not noticed either', async () => {
    s3 = await startS3();
    closing.push(() => s3.close());
    const { origin } = await start({ DATA_DIR: dataFolder(), ...s3.env });
    s3.pause();
    const live = await publish(origin);
    const seen = await seeAll(origin, live.id);
    expect(seen.map(({ media }) => media.size)).toEqual([15 + 6, 15 + 6, 15 + 6]);
    s3.resume();
    await recorded(origin, 60_000);
    expect(await metric(origin, 'origin_recording_lost_segments_total')).toBe(0);
  });
});
