import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Hono } from 'hono';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPlayerRoutes } from '#origin/player/player-routes.ts';
import { listen, type RunningHttpServer } from '#runtime/http/server.ts';
import { createLogger } from '#runtime/log.ts';
import { launchChromium } from '#tests/support/chromium.ts';
import { waitFor } from '#tests/support/wait-for.ts';

/** Segments of a second: what is in the playlist from the start, and what exists in all. */
const LISTED_FIRST = 75;
const SEGMENTS = 120;
/** Presses of the left arrow, 5 s each, that lead to the beginning. */
const BACK_TO_THE_BEGINNING = 14;

/** Notes what is taken out of the page's buffers. */
const NOTE_REMOVALS = `
  window.removals = [];
  const remove = SourceBuffer.prototype.remove;
  SourceBuffer.prototype.remove = function (start, end) {
    window.removals.push([start, end]);
    return remove.call(this, start, end);
  };`;

describe('a viewer with more than a minute behind the playhead', () => {
  let folder: string;
  let browser: Browser;
  let http: RunningHttpServer;
  let page: Page;
  let startMs: number;

  /** A live playlist that is a minute and a quarter old when the test begins, and grows. */
  async function livePlaylist(): Promise<string> {
    const whole = (await readFile(join(folder, 'media.m3u8'), 'utf8')).split('\n');
    const listed = LISTED_FIRST + Math.floor((performance.now() - startMs) / 1_000);
    const end = whole.indexOf(`media${listed}.m4s`);
    return [...whole.slice(0, end === -1 ? undefined : end - 1), ''].join('\n');
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'long-playback-'));
    execFileSync('ffmpeg', [
      ...`-v error -f lavfi -i testsrc2=size=160x90:rate=30:duration=${SEGMENTS}`.split(' '),
      ...'-c:v libx264 -preset ultrafast -profile:v main -pix_fmt yuv420p -g 30 -f hls'.split(' '),
      ...'-hls_time 1 -hls_list_size 0 -hls_segment_type fmp4'.split(' '),
      join(folder, 'media.m3u8'),
    ]);
    const app = new Hono();
    const playlistType = { 'content-type': 'application/vnd.apple.mpegurl' };
    app.get('/api/v1/live', (c) =>
      c.json({
        streams: [{ id: 'long', name: 'Long', state: 'live', playback: { hls: '/live/long/master.m3u8' } }],
      }),
    );
    app.get('/live/long/master.m3u8', (c) =>
      c.body(
        '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=900000,CODECS="avc1.4d400b",RESOLUTION=160x90\nmedia.m3u8\n',
        200,
        playlistType,
      ),
    );
    app.get('/live/long/media.m3u8', async (c) => c.body(await livePlaylist(), 200, playlistType));
    app.get('/live/long/:file', async (c) =>
      c.body(new Uint8Array(await readFile(join(folder, c.req.param('file'))))),
    );
    app.route('/', createPlayerRoutes({ logger: createLogger('test', 'silent') }));
    http = await listen(app.fetch, { host: '127.0.0.1', port: 0 });
    browser = await launchChromium();
    page = await browser.newPage();
    await page.addInitScript(NOTE_REMOVALS);
    startMs = performance.now();
    await page.goto(`${http.url}/watch/long`);
  });
  afterAll(async () => {
    await browser.close();
    await http.close();
    await rm(folder, { recursive: true, force: true });
  });

  // hls.js forgets parts when it removes media while one is on its way, and then stands still; see hls-settings.ts.
  it('keeps it: nothing is taken out of the buffer while the stream is followed', async () => {
    const position = (): Promise<number> => page.evaluate("document.querySelector('video').currentTime");
    const firstBuffered = (): Promise<number> =>
      page.evaluate(
        "(({ buffered }) => (buffered.length === 0 ? Infinity : buffered.start(0)))(document.querySelector('video'))",
      );
    await waitFor('the live edge', async () => (await position()) > 65);
    for (let press = 0; press < BACK_TO_THE_BEGINNING; press++) await page.keyboard.press('ArrowLeft');
    await waitFor('the beginning in the buffer', async () => (await firstBuffered()) < 8);
    await page.keyboard.press('l');
    await waitFor('the live edge again', async () => (await position()) > 70);
    const returnedS = await position();
    await waitFor('two segments more', async () => (await position()) > returnedS + 2);
    expect(await page.evaluate('removals')).toEqual([]);
    expect(await firstBuffered()).toBeLessThan(8);
  });
});
