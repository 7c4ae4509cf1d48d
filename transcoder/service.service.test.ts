import { randomUUID } from 'node:crypto';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { startPublisher, type Publisher } from '#tests/support/ffmpeg-publisher.ts';
import { PartSink } from '#tests/support/part-sink.ts';
import { probeFile } from '#tests/support/transcode-harness.ts';
import { waitFor, within } from '#tests/support/wait-for.ts';
import { createTranscoder, type Transcoder } from '#transcoder/service.ts';
import { readTranscoderSettings } from '#transcoder/settings.ts';

let sink: PartSink;
let transcoder: Transcoder;
let registry: Registry;
const publishers: Publisher[] = [];

const startService = async (env: Readonly<Record<string, string>> = {}): Promise<Transcoder> => {
  registry = new Registry();
  const settings = readTranscoderSettings({
    INGEST_TOKEN: 'test-token',
    ORIGIN_URLS: sink.url,
    RTMP_PORT: '0',
    RTMP_HOST: '127.0.0.1',
    TRANSCODER_PORT: '0',
    TRANSCODER_HOST: '127.0.0.1',
    ...env,
  });
  const deps = { clock: systemClock, logger: createLogger('test', 'silent'), metrics: registry };
  return createTranscoder(settings, deps);
};
const publish = async (streamKey: string): Promise<Publisher> => {
  const rtmpUrl = `rtmp://127.0.0.1:${transcoder.rtmpPort}/live/${streamKey}`;
  const publisher = await startPublisher({ rtmpUrl, width: 320, height: 180 });
  publishers.push(publisher);
  return publisher;
};

beforeEach(async () => {
  sink = await PartSink.start();
  sink.grantFor = (streamKey) =>
    streamKey.startsWith('key')
      ? {
          sessionId: randomUUID(),
          streamId: streamKey,
          fencingToken: 1,
          segmentDurationMs: 2000,
          partDurationMs: 333,
          ladder: {},
        }
      : undefined;
});
afterEach(async () => {
  await Promise.all(publishers.splice(0).map((publisher) => publisher.kill()));
  await transcoder.close();
  await sink.close();
});

describe('createTranscoder', () => {
  it('turns an RTMP broadcast into parts at the origin', async () => {
    transcoder = await startService();
    const ready = await fetch(`${transcoder.url}/readyz`);
    expect([ready.status, await ready.json()]).toMatchObject([200, { ready: true }]);
    const publisher = await publish('key-1');
    await waitFor('parts', () => sink.partsOf('180p').length >= 7, { deadlineMs: 20_000 });
    await publisher.stop();
    await waitFor('the end', () => sink.ends.length > 0);
    expect(sink.ends).toMatchObject([{ reason: 'unpublished' }]);
    const probed = await probeFile(sink.fileOf('180p'));
    expect(probed.complaints).toBe('');
    expect(probed.packets).toBeGreaterThanOrEqual(70);
    const metrics = await (await fetch(`${transcoder.url}/metrics`)).text();
    expect(metrics).toMatch(/transcoder_part_stored_seconds_count\{kind="video"\} \d/);
    expect(metrics).not.toContain('key-1');
  });

  it('does not transcode more broadcasts at once than it may', async () => {
    transcoder = await startService({ TRANSCODER_SESSIONS_MAX: '1' });
    await publish('key-1');
    await waitFor('parts', () => sink.partsOf('180p').length >= 1, { deadlineMs: 20_000 });
    await publish('key-2');
    await waitFor('the refusal', () => sink.ends.length > 0, { deadlineMs: 20_000 });
    expect(sink.ends).toMatchObject([{ reason: 'error' }]);
    expect(sink.timelines.length).toBe(1);
    const stored = sink.parts.length;
    await waitFor('more parts of the first', () => sink.parts.length > stored + 4);
  });

  it('stores the last parts before it is closed', async () => {
    transcoder = await startService();
    await publish('key-1');
    await waitFor('parts', () => sink.partsOf('180p').length >= 4, { deadlineMs: 20_000 });
    await within('the close', 9_000, transcoder.close());
    const [video, audio] = ['180p', 'audio'].map((id) => sink.partsOf(id).at(-1));
    expect([video?.msn, video?.part]).toEqual([audio?.msn, audio?.part]);
    expect(video?.last).toBe(true);
    const end = sink.requests.findIndex((path) => path.endsWith('/end'));
    const lastPart = sink.requests.findLastIndex((path) => path.endsWith('.m4s'));
    expect(end === -1 || end > lastPart).toBe(true);
  });

  it('does not start on a port that is taken', async () => {
    transcoder = await startService();
    const again = startService({ TRANSCODER_PORT: String(transcoder.port) });
    await expect(again).rejects.toMatchObject({ code: 'listen_failed' });
    await expect(startService({ RTMP_PORT: String(transcoder.rtmpPort) })).rejects.toMatchObject({
      code: 'listen_failed',
    });
  });
});
