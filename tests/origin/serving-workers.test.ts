import cluster from 'node:cluster';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makePresentation } from '#origin/live/testing/synthetic-media.ts';
import { OriginUnderTest } from '#origin/testing/origin-under-test.ts';
import { checkRun } from '#tests/support/hls-rules.ts';
import { recordStream } from '#tests/support/ll-hls-client.ts';
import { waitFor } from '#tests/support/wait-for.ts';

const RECORD_MS = 6_000;
const presentation = makePresentation();

let origin: OriginUnderTest;
let streamId: string;
let resting: string;
let broadcast: { readonly refused: () => number; readonly next: () => string; stop(): Promise<void> };

beforeAll(async () => {
  origin = await OriginUnderTest.start({ ORIGIN_WORKERS: '2' });
  const stream = await origin.createStream();
  streamId = stream.id;
  resting = (await origin.createStream()).id;
  broadcast = await goLive(stream.streamKey);
});
afterAll(async () => {
  await broadcast?.stop();
  await origin?.close();
});

/** Puts parts in real time, over whichever worker takes the connection. */
async function goLive(streamKey: string) {
  const { body: grant } = await origin.authorise(streamKey);
  const beating = origin.keepAlive(grant);
  const timeline = await origin.publish(grant, 3, presentation);
  const { partsPerSegment, segmentDuration } = presentation;
  const cellMs = (segmentDuration.ticks * 1_000) / segmentDuration.timescale / partsPerSegment;
  const state = { refused: 0, cell: 3 * partsPerSegment };
  const stop = new AbortController();
  const putting = (async () => {
    const startMs = performance.now() - state.cell * cellMs;
    while (!stop.signal.aborted) {
      const dueMs = startMs + (state.cell + 1) * cellMs - performance.now();
      await delay(Math.max(0, dueMs));
      const cell = state.cell++;
      const put = async (id: string): Promise<void> => {
        // A worker may be killed with the upload in its hands; a transcoder tries again.
        for (let tries = 0; tries < 5; tries++) {
          const status = await origin.putPart(grant, timeline, presentation, id, cell).catch(() => 0);
          if (status === 200 || status === 201) return;
          await delay(50);
        }
        state.refused++;
      };
      await Promise.all(presentation.renditions.map(({ id }) => put(id)));
    }
  })();
  return {
    refused: () => state.refused,
    /** `_HLS_msn` and `_HLS_part` of a part that is two away. */
    next: () => {
      const cell = state.cell + 1;
      const msn = timeline.firstMsn + Math.floor(cell / partsPerSegment);
      return `_HLS_msn=${msn}&_HLS_part=${cell % partsPerSegment}`;
    },
    stop: async () => {
      stop.abort();
      await putting;
      await beating.stop();
    },
  };
}

/** One request on a connection of its own: they go to the workers in turns. */
async function ask(path: string): Promise<{ status: number; text: string }> {
  const request = get(new URL(path, origin.origin.url), { agent: false });
  const [message] = (await once(request, 'response')) as [IncomingMessage];
  const text = Buffer.concat(await message.toArray()).toString();
  return { status: message.statusCode ?? 0, text };
}

const playlist = (query = ''): string =>
  `/live/${streamId}/720p/index.m3u8${query === '' ? '' : `?${query}`}`;
const metric = async (name: string): Promise<number> => {
  const { text } = await ask('/metrics');
  return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
};

describe('two workers on one port', () => {
  it('keep every rule of low-latency HLS', async () => {
    const recording = await recordStream(`${origin.origin.url}/live/${streamId}/master.m3u8`);
    await delay(RECORD_MS);
    const run = await recording.stop();
    expect(checkRun(run)).toEqual([]);
    for (const { answers } of run.renditions) expect(answers.length).toBeGreaterThan(10);
    expect(broadcast.refused()).toBe(0);
  });

  it('hold and release the same, and pull it once each', async () => {
    const pulled = await metric('origin_relay_pulls_total\\{outcome="ok",service="origin"\\}');
    const query = broadcast.next();
    const answers = await Promise.all(Array.from({ length: 40 }, () => ask(playlist(query))));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    const pulls = (await metric('origin_relay_pulls_total\\{outcome="ok",service="origin"\\}')) - pulled;
    expect(pulls).toBeGreaterThan(0);
    expect(pulls).toBeLessThanOrEqual(2);
  });

  it('refuse what the main process refuses, with its codes', async () => {
    for (const [path, status, code] of [
      [playlist('_HLS_part=1'), 400, 'directive_part_without_msn'],
      [playlist('_HLS_msn=999999999999'), 400, 'msn_too_far'],
      [`/live/${streamId}/720p/1.m4s`, 404, 'segment_not_found'],
      [`/live/${streamId}/4320p/index.m3u8`, 404, 'rendition_not_found'],
      ['/live/nothing/master.m3u8', 404, 'stream_not_found'],
      [`/live/${resting}/master.m3u8`, 404, 'stream_offline'],
      ['/nothing', 404, 'not_found'],
    ] as const)
      for (let worker = 0; worker < 2; worker++) {
        const answer = await ask(path);
        expect([path, answer.status, (JSON.parse(answer.text) as { code: string }).code]).toEqual([
          path,
          status,
          code,
        ]);
      }
  });

  it('go on when one of them is killed, and are two again soon', async () => {
    const restarts = await metric('origin_worker_restarts_total');
    const [first] = Object.values(cluster.workers ?? {});
    const pid = first?.process.pid ?? 0;
    process.kill(pid, 'SIGKILL');
    await once(first?.process ?? process, 'exit');
    for (let request = 0; request < 20; request++) expect((await ask(playlist())).status).toBe(200);
    await waitFor('two workers', async () => (await metric('origin_workers')) === 2, { deadlineMs: 10_000 });
    expect((await metric('origin_worker_restarts_total')) - restarts).toBe(1);
    for (let request = 0; request < 20; request++)
      expect((await ask(playlist(broadcast.next()))).status).toBe(200);
    expect(broadcast.refused()).toBe(0);
  });
});
