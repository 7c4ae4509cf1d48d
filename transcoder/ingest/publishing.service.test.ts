import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { startPublisher, type Publisher, type PublisherOptions } from '#tests/support/ffmpeg-publisher.ts';
import { flvFileOf } from '#tests/support/flv-file.ts';
import { startSupervisedIngest, type SupervisedIngest } from '#tests/support/supervised-ingest.ts';
import { waitFor, within } from '#tests/support/wait-for.ts';
import type { IngestPacket } from './incoming-publish.ts';

type Frame = IngestPacket & { kind: 'video' | 'audio' };

const frames = (packets: readonly IngestPacket[], kind: 'video' | 'audio'): Frame[] =>
  packets.filter((packet): packet is Frame => packet.kind === kind && !packet.sequenceHeader);
const steps = (of: readonly Frame[]): number[] =>
  of.slice(1).map((frame, index) => frame.dtsMs - (of[index]?.dtsMs ?? 0));
const kinds = (packets: readonly IngestPacket[]): Set<string> => new Set(packets.map(({ kind }) => kind));

/** Frames that ffmpeg decodes of these packets, without an error. */
async function decodedFrames(packets: readonly IngestPacket[], stream: 'v' | 'a'): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'publishing-test-'));
  try {
    const file = join(directory, 'read.flv');
    await writeFile(file, flvFileOf(packets));
    const ask = ['-show_entries', 'stream=nb_read_frames', '-of', 'csv=p=0'];
    const output = execFileSync(
      'ffprobe',
      ['-v', 'error', '-count_frames', '-select_streams', stream, ...ask, file],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    return Number(output.toString().trim());
  } finally {
    await rm(directory, { recursive: true });
  }
}

let ingest: SupervisedIngest;
const publishers: Publisher[] = [];
afterEach(async () => {
  for (const publisher of publishers.splice(0)) await publisher.kill();
  await ingest.close();
});
const publish = async (options: Omit<PublisherOptions, 'rtmpUrl'> = {}, key = 'key'): Promise<Publisher> => {
  const publisher = await startPublisher({
    rtmpUrl: `rtmp://127.0.0.1:${ingest.rtmpPort}/app/${key}`,
    ...options,
  });
  publishers.push(publisher);
  return publisher;
};

describe('what ffmpeg publishes', () => {
  it('comes out whole: H.264 with B-frames and AAC', async () => {
    ingest = await startSupervisedIngest();
    const publisher = await publish({ durationS: 4, bFrames: 2 });
    const { publish: incoming, packets, done } = await ingest.read(0);
    await publisher.ended;
    await within('the end of the packets', 5_000, done);
    expect(await incoming.ended).toBe('unpublished');
    expect(packets.slice(0, 4).map(({ kind }) => kind)).toEqual(['metadata', 'video', 'audio', 'video']);
    expect(packets[0]).toMatchObject({
      values: { width: 640, height: 360, videocodecid: 7, audiocodecid: 10 },
    });
    expect(packets[1]).toMatchObject({ sequenceHeader: true });
    expect(packets[3]).toMatchObject({ keyframe: true, dtsMs: 0 });
    const [video, audio] = [frames(packets, 'video'), frames(packets, 'audio')];
    expect(video).toHaveLength(120);
    expect(new Set(steps(video))).toEqual(new Set([33, 34]));
    expect(video.some((frame) => 'compositionOffsetMs' in frame && frame.compositionOffsetMs >= 66)).toBe(
      true,
    );
    expect(Math.abs(audio.length - (4 * 48_000) / 1_024)).toBeLessThanOrEqual(3);
    expect(new Set(steps(audio))).toEqual(new Set([21, 22]));
    expect(await decodedFrames(packets, 'v')).toBe(120);
    expect(await decodedFrames(packets, 'a')).toBeGreaterThanOrEqual(audio.length - 1);
    const arrivals = video.map(({ arrivalUtcMs }) => arrivalUtcMs);
    expect(Math.abs(Date.now() - (arrivals.at(-1) ?? 0))).toBeLessThan(60_000);
    expect(arrivals.toSorted((a, b) => a - b)).toEqual(arrivals);
    const source = ingest.origin.of('key')[0]?.heartbeats.at(-1)?.heartbeat.source;
    expect(source).toMatchObject({ audioCodec: 'mp4a.40.2', width: 640, height: 360 });
    expect(source?.videoCodec).toMatch(/^avc1\.[0-9a-f]{6}$/);
    expect(Math.abs((source?.frameRate ?? 0) - 30)).toBeLessThan(0.2);
    expect(source?.bitrateBps).toBeGreaterThan(100_000);
  });

  it.each([
    [
      'video alone, 29.97 frames per second',
      { audio: 'none', frameRate: '30000/1001' },
      ['metadata', 'video'],
      90,
    ],
    [
      'video alone, portrait, 60 frames per second',
      { audio: 'none', frameRate: '60', width: 360, height: 640 },
      ['metadata', 'video'],
      180,
    ],
    ['audio alone', { video: 'none' }, ['audio', 'metadata'], 0],
    ['44.1 kHz mono with video', { sampleRateHz: 44_100, channels: 1 }, ['audio', 'metadata', 'video'], 90],
  ] as const)('comes out whole: %s', async (_name, options, expectedKinds, videoCount) => {
    ingest = await startSupervisedIngest();
    const publisher = await publish({ durationS: 3, ...options });
    const { packets, done } = await ingest.read(0);
    await publisher.ended;
    await within('the end of the packets', 5_000, done);
    expect([...kinds(packets)].toSorted()).toEqual(expectedKinds);
    const [video, audio] = [frames(packets, 'video'), frames(packets, 'audio')];
    expect(Math.abs(video.length - videoCount)).toBeLessThanOrEqual(1);
    expect([...video, ...audio].find(({ dtsMs }) => dtsMs === 0)).toBeDefined();
    expect(Math.max(0, ...steps(video), ...steps(audio))).toBeLessThanOrEqual(34);
    expect(Math.min(0, ...steps(video), ...steps(audio))).toBe(0);
    const decoded = await decodedFrames(packets, video.length > 0 ? 'v' : 'a');
    expect(decoded).toBeGreaterThanOrEqual((video.length > 0 ? video : audio).length - 1);
    const source = ingest.origin.of('key')[0]?.heartbeats.at(-1)?.heartbeat.source;
    expect(source?.videoCodec === null).toBe(video.length === 0);
    expect(source?.audioCodec === null).toBe(audio.length === 0);
  });

  it('loses nothing while the origin takes its time to judge the key', async () => {
    ingest = await startSupervisedIngest();
    ingest.origin.authoriseDelayMs = 700;
    const publisher = await publish({ durationS: 2 });
    const { packets, done } = await ingest.read(0);
    await publisher.ended;
    await within('the end of the packets', 5_000, done);
    expect(frames(packets, 'video')).toHaveLength(60);
  });

  it('is refused with another key, and ffmpeg is told why', async () => {
    ingest = await startSupervisedIngest();
    const publisher = await publish({ durationS: 10 }, 'another');
    expect((await within('the end of ffmpeg', 8_000, publisher.ended)).code).not.toBe(0);
    expect(publisher.stderr()).toContain('No stream has this key');
    expect(ingest.publishes).toEqual([]);
  });

  it('is refused while another publishes, who notices nothing', async () => {
    ingest = await startSupervisedIngest();
    const first = await publish();
    const { packets } = await ingest.read(0);
    await waitFor('packets', () => packets.length > 30);
    const second = await publish();
    expect((await within('the end of the second', 8_000, second.ended)).code).not.toBe(0);
    expect(second.stderr()).toContain('This stream has a publisher');
    const countAtRefusal = packets.length;
    await waitFor('more packets of the first', () => packets.length > countAtRefusal + 30);
    await first.stop();
    expect(Math.max(...steps(frames(packets, 'video')))).toBeLessThanOrEqual(34);
    expect(kinds(packets)).not.toContain('break');
  });
});

describe('a broadcaster that vanishes', () => {
  it('is noticed at once when its process is killed, and its key is free', async () => {
    ingest = await startSupervisedIngest();
    const first = await publish();
    const { publish: incoming, packets } = await ingest.read(0);
    await waitFor('packets', () => packets.length > 30);
    const killedMs = performance.now();
    await first.kill();
    expect(await within('the end', 3_000, incoming.ended)).toBe('lost');
    const end = await waitFor('the report', () => ingest.origin.of('key')[0]?.end);
    expect(end.atMs - killedMs).toBeLessThan(3_000);
    await publish();
    await waitFor('the next publish', () => ingest.publishes[1]);
  });

  it('is noticed within 3 s when it only stops sending; its key is free within 4 s, and not its own any more', async () => {
    ingest = await startSupervisedIngest();
    const first = await publish();
    const { publish: incoming, packets } = await ingest.read(0);
    await waitFor('packets', () => packets.length > 30);
    process.kill(first.pid, 'SIGSTOP');
    const stoppedMs = performance.now();
    expect(await within('the end', 4_000, incoming.ended)).toBe('lost');
    const end = await waitFor('the report', () => ingest.origin.of('key')[0]?.end);
    expect(end.reason).toBe('lost');
    // 3 s from its last packet; what is over is the time of this test to ask.
    expect(end.atMs - stoppedMs).toBeGreaterThan(2_800);
    expect(end.atMs - stoppedMs).toBeLessThan(4_000);
    await publish();
    const { packets: packetsOfSecond } = await ingest.read(1);
    process.kill(first.pid, 'SIGCONT');
    expect((await within('the end of the first', 15_000, first.ended)).code).not.toBe(0);
    const count = packetsOfSecond.length;
    await waitFor('packets of the second', () => packetsOfSecond.length > count + 30);
    expect(await ingest.metric('ingest_publishes_ended_total', { reason: 'lost' })).toBe(1);
  });

  it('may go on with a new session when it comes back before its connection is destroyed', async () => {
    ingest = await startSupervisedIngest();
    const publisher = await publish();
    const { publish: incoming, packets } = await ingest.read(0);
    await waitFor('packets', () => packets.length > 30);
    process.kill(publisher.pid, 'SIGSTOP');
    expect(await within('the end', 4_500, incoming.ended)).toBe('lost');
    process.kill(publisher.pid, 'SIGCONT');
    const { packets: resumed } = await ingest.read(1);
    await waitFor('packets again', () => resumed.length > 30);
    expect(frames(resumed, 'video')[0]).toMatchObject({ keyframe: true, dtsMs: 0 });
    expect(resumed.filter((packet) => 'sequenceHeader' in packet && packet.sequenceHeader)).toHaveLength(2);
    await publisher.stop();
    expect(await ingest.publishes[1]?.ended).toBe('unpublished');
  });

  it('loses its connection after 10 s of silence', async () => {
    ingest = await startSupervisedIngest();
    const publisher = await publish();
    const { packets } = await ingest.read(0);
    await waitFor('packets', () => packets.length > 30);
    process.kill(publisher.pid, 'SIGSTOP');
    const closed = (): Promise<number> =>
      ingest.metric('ingest_rtmp_connections_closed_total', { reason: 'silence' });
    await waitFor('the end of the connection', async () => (await closed()) === 1, { deadlineMs: 14_000 });
    expect(await ingest.metric('ingest_rtmp_connections')).toBe(0);
  });
});

describe('a stream that is taken away from its broadcaster', () => {
  it('ends the publish within 5 s', async () => {
    ingest = await startSupervisedIngest();
    const publisher = await publish();
    const { publish: incoming, packets } = await ingest.read(0);
    await waitFor('packets', () => packets.length > 30);
    ingest.origin.revoke('key');
    ingest.origin.keys.delete('key');
    expect(await within('the end', 5_000, incoming.ended)).toBe('revoked');
    expect((await within('the end of ffmpeg', 5_000, publisher.ended)).code).not.toBe(0);
  });
});
