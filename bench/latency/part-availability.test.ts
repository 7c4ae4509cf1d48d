import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { PartWatch } from '#bench/latency/part-availability.ts';

const START_MS = Date.UTC(2026, 10, 22);
const PARTS = 6;
const ANSWER_MS = 10;

/** A playlist of ⅓ s parts, 6 in a segment, with `count` of them out. */
function playlist(count: number): string {
  const lines = ['#EXTM3U', '#EXT-X-TARGETDURATION:2', '#EXT-X-MEDIA-SEQUENCE:50', '#EXT-X-MAP:URI="i"'];
  for (let index = 0; index < count; index++) {
    const msn = 50 + Math.floor(index / PARTS);
    if (index % PARTS === 0)
      lines.push(`#EXT-X-PROGRAM-DATE-TIME:${new Date(START_MS + (index / 3) * 1_000).toISOString()}`);
    lines.push(`#EXT-X-PART:DURATION=0.33333,URI="${msn}.${index % PARTS}"`);
    if (index % PARTS === PARTS - 1) lines.push('#EXTINF:2.00000,', `${msn}`);
  }
  return [...lines, ''].join('\n');
}

it('pairs each part that was waited for with the frame that closes it', async () => {
  const allSeen = Promise.withResolvers<void>();
  const server = createServer((request, response) => {
    const asked = new URL(request.url ?? '', 'http://x').searchParams;
    const index = asked.has('_HLS_msn')
      ? (Number(asked.get('_HLS_msn')) - 50) * PARTS + Number(asked.get('_HLS_part'))
      : 3;
    // The last part never comes: whoever asks for it waits until the watch is stopped.
    if (index < 14) setTimeout(() => response.end(playlist(index + 1)), ANSWER_MS);
    else allSeen.resolve();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const watch = new PartWatch(
    `http://127.0.0.1:${(server.address() as AddressInfo).port}/live/s/720p/index.m3u8`,
  );
  await allSeen.promise;
  const frames = Array.from({ length: 200 }, (_, index) => ({
    index,
    drawnAtMs: 0,
    sentAtMs: START_MS + (index * 1_000) / 30 + 7,
  }));
  const parts = await watch.stop(frames, 30);
  server.closeAllConnections();
  server.close();
  // Parts 0 to 3 were there before anybody waited.
  expect(parts.map(({ msn, part }) => (msn - 50) * PARTS + part)).toEqual([4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
  expect(parts.map(({ lastFrame }) => lastFrame)).toEqual([49, 59, 69, 79, 89, 99, 109, 119, 129, 139]);
  for (const { ingestAtMs, programDateTimeMs, rendition } of parts) {
    expect(programDateTimeMs - ingestAtMs).toBeCloseTo(-7, 1);
    expect(rendition).toBe('720p');
  }
});
