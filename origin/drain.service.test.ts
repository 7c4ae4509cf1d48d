import { Agent, get } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { PublishGrant, TimelineGrant } from '#protocol/ingest/publish-session.ts';
import { waitFor } from '#tests/support/wait-for.ts';
import { makePresentation } from '#origin/live/testing/synthetic-media.ts';
import { OriginUnderTest } from '#origin/testing/origin-under-test.ts';

const presentation = makePresentation();
const { partsPerSegment } = presentation;
const CELL_MS = 2_000 / partsPerSegment;
const VIEWERS = 200;

let origin: OriginUnderTest | undefined;
afterEach(async () => {
  await origin?.close();
  origin = undefined;
});

type Answer = { readonly status: number; readonly connection: string | undefined; readonly text: string };

function ask(url: string, agent: Agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    get(url, { agent }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, connection: response.headers.connection, text }),
      );
    }).on('error', reject);
  });
}

/** Puts a part of every rendition once per cell, as a transcoder does, until stopped or refused. */
function keepPublishing(grant: PublishGrant, timeline: TimelineGrant, fromCell: number) {
  const progress = { cell: fromCell, statuses: new Set<number>() };
  const abort = new AbortController();
  const publishing = (async () => {
    while (!abort.signal.aborted) {
      for (const { id } of presentation.renditions) {
        const status = await origin?.putPart(grant, timeline, presentation, id, progress.cell).catch(() => 0);
        progress.statuses.add(status ?? 0);
      }
      progress.cell += 1;
      await delay(CELL_MS);
    }
  })();
  return { progress, stop: () => (abort.abort(), publishing) };
}

/** A viewer that reloads and goes elsewhere when its connection is refused. */
async function watch(url: string, from: { msn: number; cell: number }): Promise<readonly Answer[]> {
  const agent = new Agent({ keepAlive: true });
  const answers: Answer[] = [];
  try {
    for (let { cell } = from; ; cell++) {
      const msn = from.msn + Math.floor(cell / partsPerSegment);
      answers.push(await ask(`${url}?_HLS_msn=${msn}&_HLS_part=${cell % partsPerSegment}`, agent));
    }
  } catch (error) {
    // A connection that the kernel had not handed over yet when the port was closed is reset: refused just as well.
    if ((error as NodeJS.ErrnoException).syscall !== 'connect') throw error;
    return answers;
  } finally {
    agent.destroy();
  }
}

describe('an origin that is stopped while it is watched', () => {
  it('is not ready at once, answers every reload with the part it waited for, and is gone in time', async () => {
    origin = await OriginUnderTest.start({ ORIGIN_DRAIN_S: '6' });
    const { streamKey, id } = await origin.createStream();
    const { body: grant } = await origin.authorise(streamKey);
    const heartbeats = origin.keepAlive(grant);
    const timeline = await origin.publish(grant, 2, presentation);
    const publishing = keepPublishing(grant, timeline, 2 * partsPerSegment);
    const url = `${origin.origin.url}/live/${id}/720p/index.m3u8`;
    const start = { msn: timeline.firstMsn, cell: 2 * partsPerSegment };
    const watching = Array.from({ length: VIEWERS }, () => watch(url, start));
    await waitFor('some parts to pass', () => publishing.progress.cell >= start.cell + 4);
    // The session is believed in for three seconds more.
    await heartbeats.stop();
    const cellAtStop = publishing.progress.cell;
    const stopped = origin.stop();
    const ready = await fetch(`${origin.origin.url}/readyz`);
    expect(ready.status).toBe(503);
    await ready.body?.cancel();

    const all = await Promise.all(watching);
    const late = AbortSignal.timeout(10_000);
    await stopped;
    expect(late.aborted).toBe(false);
    await publishing.stop();
    for (const answers of all) {
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
      answers.forEach(({ text }, index) => {
        const cell = start.cell + index;
        const msn = start.msn + Math.floor(cell / partsPerSegment);
        expect(text).toContain(`URI="${msn}.${cell % partsPerSegment}.m4s"`);
      });
      expect(answers.length).toBeGreaterThanOrEqual(cellAtStop - start.cell);
      expect(answers.at(-1)?.connection).toBe('close');
    }
  });

  it('does not wait when nobody watches', async () => {
    origin = await OriginUnderTest.start({ ORIGIN_DRAIN_S: '6' });
    await origin.stop();
    await expect(fetch(`${origin.origin.url}/readyz`)).rejects.toThrow('fetch failed');
  });
});
