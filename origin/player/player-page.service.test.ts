import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Hono } from 'hono';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createPlayerRoutes } from '#origin/player/player-routes.ts';
import { listen, type RunningHttpServer } from '#runtime/http/server.ts';
import { createLogger } from '#runtime/log.ts';
import { launchChromium } from '#tests/support/chromium.ts';
import { waitFor } from '#tests/support/wait-for.ts';

/** What the page's server answers; a test changes it while the page is open. */
type Server = {
  listed: { id: string; name: string; state: string; playback: { hls: string } }[];
  listStatus: number;
  master: () => Response | Promise<Response>;
  mediaStatus: number;
};

const demo = {
  id: 'demo',
  name: 'Demo stream',
  state: 'live',
  playback: { hls: '/live/demo/master.m3u8' },
};
const problem = (status: number, code: string): Response =>
  new Response(JSON.stringify({ status, code }), {
    status,
    headers: { 'content-type': 'application/problem+json' },
  });
const playlist = (text: string): Response =>
  new Response(text, { headers: { 'content-type': 'application/vnd.apple.mpegurl' } });
const master = (codecs: string): Response =>
  playlist(
    `#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=900000,CODECS="${codecs}",RESOLUTION=320x180,FRAME-RATE=30.000\nmedia.m3u8\n`,
  );

describe('the player page in Chromium', () => {
  let folder: string;
  let browser: Browser;
  let http: RunningHttpServer;
  let context: BrowserContext;
  let page: Page;
  let server: Server;
  const foreignRequests: string[] = [];
  const exceptions: string[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'player-page-'));
    execFileSync('ffmpeg', [
      ...'-v error -f lavfi -i testsrc2=size=320x180:rate=30:duration=8'.split(' '),
      ...'-c:v libx264 -preset ultrafast -profile:v main -pix_fmt yuv420p -g 30 -f hls'.split(' '),
      ...'-hls_time 1 -hls_segment_type fmp4 -hls_playlist_type vod'.split(' '),
      join(folder, 'media.m3u8'),
    ]);
    const app = new Hono();
    app.get('/api/v1/live', (c) =>
      server.listStatus === 200
        ? c.json({ streams: server.listed })
        : problem(server.listStatus, 'unavailable'),
    );
    app.get('/live/:id/master.m3u8', () => server.master());
    app.get('/live/:id/:file', async (c) => {
      if (server.mediaStatus !== 200) return problem(server.mediaStatus, 'unavailable');
      const bytes = await readFile(join(folder, c.req.param('file')));
      return c.body(new Uint8Array(bytes));
    });
    app.route('/', createPlayerRoutes({ logger: createLogger('test', 'silent') }));
    http = await listen(app.fetch, { host: '127.0.0.1', port: 0 });
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser.close();
    await http.close();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    server = { listed: [], listStatus: 200, master: () => problem(404, 'stream_offline'), mediaStatus: 200 };
    foreignRequests.length = 0;
    exceptions.length = 0;
    await newContext({ width: 1280, height: 800 });
  });
  afterEach(async () => {
    await context.close();
    const strays = [...exceptions, ...foreignRequests];
    if (strays.length > 0) throw new Error(`the page did what it must not: ${strays.join('; ')}`);
  });

  async function newContext(viewport: { width: number; height: number }): Promise<void> {
    context = await browser.newContext({ viewport });
    page = await context.newPage();
    page.on('pageerror', (error) => exceptions.push(error.message));
    page.on('console', (message) => {
      if (message.text().includes('Content Security Policy')) exceptions.push(message.text());
    });
    page.on('request', (request) => {
      if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(http.url))
        foreignRequests.push(request.url());
    });
  }
  const state = (field: string): Promise<unknown> => page.evaluate(`window.player.${field}`);
  /** Whether a message comes up over the picture, by its title. */
  const appears = (title: string): Promise<boolean> =>
    waitFor(
      `the message “${title}”`,
      async () => (await page.textContent('#message-title')) === title && (await page.isVisible('#message')),
      { deadlineMs: 12_000 },
    );

  describe('says what is wrong', () => {
    it('when nobody is live, and plays as soon as somebody is', async () => {
      await page.goto(http.url);
      expect(await appears('Nobody is live right now')).toBe(true);
      server.listed = [demo];
      expect(await appears('“Demo stream” is offline')).toBe(true);
      expect(await state('streamId')).toBe('demo');
      expect(await page.getAttribute('.stream[data-id="demo"]', 'aria-current')).toBe('page');
    });

    it('when the stream is offline, and when there is none of this name', async () => {
      await page.goto(`${http.url}/watch/demo`);
      expect(await appears('“demo” is offline')).toBe(true);
      server.master = () => problem(404, 'stream_not_found');
      await page.goto(`${http.url}/?stream=dmeo`);
      expect(await appears('There is no stream “dmeo”')).toBe(true);
    });

    it('when the server is overloaded, and goes on by itself', async () => {
      server.listed = [demo];
      server.master = () => problem(503, 'overloaded');
      await page.goto(`${http.url}/watch/demo`);
      expect(await appears('The server is overloaded or starting')).toBe(true);
      server.master = () => master('avc1.4d400c');
      expect(await appears('“Demo stream” is not live')).toBe(true);
    });

    it('when the server is gone', async () => {
      await page.goto(http.url);
      expect(await appears('Nobody is live right now')).toBe(true);
      await context.setOffline(true);
      expect(await appears('You are offline')).toBe(true);
      await context.setOffline(false);
      expect(await appears('Nobody is live right now')).toBe(true);
    });

    it('when the list of streams fails', async () => {
      server.listStatus = 503;
      await page.goto(http.url);
      expect(await appears('The server cannot be reached')).toBe(true);
      expect(await page.textContent('#streams-status')).toBe('The list cannot be loaded.');
    });

    it('when the browser has no decoder', async () => {
      server.master = () => master('hvc1.1.6.L93.B0');
      await page.goto(`${http.url}/watch/demo`);
      expect(await appears('This browser cannot play this stream')).toBe(true);
      expect(await state('failure')).toBe('codec');
    });
  });

  it('offers what was recorded of an ended broadcast, and plays it to its end', async () => {
    server.master = () => master('avc1.4d400c');
    await page.goto(`${http.url}/watch/demo`);
    expect(await appears('“demo” is not live')).toBe(true);
    await page.click('#message-action');
    await waitFor('the recording to play', async () => (await state('phase')) === 'playing');
    expect(await appears('The broadcast has ended')).toBe(true);
    expect(await state('stalls')).toBe(0);
  });

  it('tells a failure in the middle of playback from the end, and goes on', async () => {
    server.master = () => master('avc1.4d400c');
    await page.goto(`${http.url}/watch/demo`);
    expect(await appears('“demo” is not live')).toBe(true);
    server.mediaStatus = 503;
    await page.click('#message-action');
    expect(await appears('The server is overloaded or starting')).toBe(true);
    server.mediaStatus = 200;
    expect(await appears('“demo” is not live')).toBe(true);
  });

  it('lists streams as links that switch without loading the page anew', async () => {
    server.listed = [demo, { ...demo, id: 'second', name: 'Second' }];
    await page.goto(http.url);
    await page.click('.stream[data-id="second"]');
    expect(new URL(page.url()).pathname).toBe('/watch/second');
    expect(await state('streamId')).toBe('second');
    await page.goBack();
    await waitFor('the first stream', async () => (await state('streamId')) === 'demo');
  });

  describe('works with the keyboard', () => {
    beforeEach(async () => {
      server.master = () => master('avc1.4d400c');
      await page.goto(`${http.url}/watch/demo`);
      await appears('“demo” is not live');
      await page.click('#message-action');
      await waitFor('the recording to play', async () => (await state('phase')) === 'playing');
      await page.evaluate('document.activeElement.blur()');
    });
    const video = (field: string): Promise<unknown> =>
      page.evaluate(`document.querySelector('video').${field}`);
    const playLabel = (): Promise<string | null> => page.getAttribute('#play', 'aria-label');

    it('space pauses and plays, M turns the sound on and off', async () => {
      await page.keyboard.press('Space');
      expect(await video('paused')).toBe(true);
      await waitFor('the button to say so', async () => (await playLabel()) === 'Play');
      await page.keyboard.press('Space');
      await waitFor('the button to say so', async () => (await playLabel()) === 'Pause');
      expect(await video('paused')).toBe(false);
      expect(await video('muted')).toBe(true);
      await page.keyboard.press('m');
      expect(await video('muted')).toBe(false);
      await page.keyboard.press('m');
      expect(await video('muted')).toBe(true);
    });

    it('arrows change the volume and the position', async () => {
      await page.keyboard.press('m');
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('ArrowDown');
      expect(await video('volume')).toBeCloseTo(0.9, 5);
      await page.keyboard.press('ArrowUp');
      expect(await video('volume')).toBeCloseTo(0.95, 5);
      await page.keyboard.press('ArrowRight');
      await waitFor('the position to move', async () => Number(await video('currentTime')) > 5);
      await page.keyboard.press('ArrowLeft');
      await waitFor('the position to move back', async () => Number(await video('currentTime')) < 5);
    });

    it('F is full screen', async () => {
      await page.keyboard.press('f');
      const full = (): Promise<boolean> => page.evaluate('document.fullscreenElement?.id === "stage"');
      await waitFor('full screen', full);
      // The page hears of it after the document has changed.
      await page.waitForSelector('#fullscreen[aria-pressed="true"]');
      await page.keyboard.press('f');
      await waitFor('a window again', async () => !(await full()));
      await page.waitForSelector('#fullscreen[aria-pressed="false"]');
      expect(await full()).toBe(false);
    });

    it('every control can be reached, shows its focus and has a name', async () => {
      const seen = new Set<string>();
      await page.keyboard.press('Tab');
      for (let step = 0; step < 20; step++) {
        const focused = (await page.evaluate(`(() => {
          const element = document.activeElement;
          const name = element.getAttribute('aria-label') || element.textContent.trim() ||
            (element.labels && element.labels[0] && element.labels[0].textContent.trim());
          const shown = getComputedStyle(element).outlineStyle !== 'none';
          return { id: element.id || element.className || element.tagName, name, shown };
        })()`)) as { id: string; name: string; shown: boolean };
        if (focused.id === 'BODY') break;
        seen.add(focused.id);
        expect(focused).toEqual({ ...focused, name: expect.stringMatching(/\w/) as string, shown: true });
        await page.keyboard.press('Tab');
      }
      for (const id of ['unmute', 'play', 'mute', 'volume', 'quality', 'fullscreen'])
        expect([...seen]).toContain(id);
    });
  });

  it.each([
    { width: 320, height: 640 },
    { width: 768, height: 1024 },
    { width: 1440, height: 900 },
  ])('fits a window of $width × $height, and nothing moves about while it loads', async (viewport) => {
    await context.close();
    await newContext(viewport);
    await page.addInitScript(`
      window.layoutShift = 0;
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.layoutShift += entry.value;
      }).observe({ type: 'layout-shift', buffered: true });
    `);
    server.listed = [demo, { ...demo, id: 'second', name: 'A name that is quite long for a narrow window' }];
    server.master = () => master('avc1.4d400c');
    await page.goto(`${http.url}/watch/demo`);
    expect(await appears('“Demo stream” is not live')).toBe(true);
    await page.click('#message-action');
    await waitFor('the recording to play', async () => (await state('phase')) === 'playing');
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(viewport.width);
    expect(Number(await page.evaluate('window.layoutShift'))).toBeLessThan(0.02);
    const small = await page.evaluate(`[...document.querySelectorAll('.controls button, .controls select')]
      .filter((control) => control.getBoundingClientRect().height < 44).map((control) => control.id)`);
    expect(small).toEqual([]);
  });

  it('holds still for who asked for less motion', async () => {
    await page.emulateMedia({ reducedMotion: 'reduce' });
    server.master = () => new Promise<Response>(() => undefined);
    await page.goto(`${http.url}/watch/demo`);
    expect(await appears('Loading…')).toBe(true);
    expect(await page.evaluate('document.getAnimations().length')).toBe(0);
  });

  it('lets its state be read and not be written', async () => {
    await page.goto(http.url);
    expect(await state('version')).toBe(1);
    const outcome = await page.evaluate(`(() => {
      'use strict';
      const refused = [];
      try { window.player = {}; } catch { refused.push('player'); }
      try { window.player.stalls = 0; } catch { refused.push('stalls'); }
      return refused;
    })()`);
    expect(outcome).toEqual(['player', 'stalls']);
  });
});
