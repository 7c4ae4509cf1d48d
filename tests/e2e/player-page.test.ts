import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CreatedStream } from '#bench/system/stream-api.ts';
import { launchChromium, openPage, waitForPicture } from '#tests/support/chromium.ts';
import type { Publisher, PublisherOptions } from '#tests/support/ffmpeg-publisher.ts';
import { startLiveSystem, type LiveSystem } from '#tests/support/live-system.ts';
import { waitFor } from '#tests/support/wait-for.ts';

let live: LiveSystem;
let browser: Browser;
let stream: CreatedStream;
let publisher: Publisher;

const PHONE = { width: 360, height: 640 };
const SMALL: Omit<PublisherOptions, 'rtmpUrl'> = { width: 640, height: 360 };

beforeAll(async () => {
  [live, browser] = await Promise.all([startLiveSystem(), launchChromium()]);
  stream = await live.api.create({
    name: 'The evening show',
    ladder: { rungs: [{ height: 360, bitrateBps: 700_000 }] },
  });
  ({ publisher } = await live.goLive(stream, SMALL));
});
afterAll(async () => {
  await browser?.close();
  await live?.close();
});

const watchUrl = (id: string): string => `${live.process.originUrl}/watch/${id}`;

function waitForMessage(page: Page, message: RegExp, deadlineMs = 20_000): Promise<string> {
  return waitFor(
    `the message ${message.source}`,
    async () => {
      const text = await page.locator('#message').innerText();
      return (await page.locator('#message').isVisible()) && message.test(text) ? text : undefined;
    },
    { deadlineMs, intervalMs: 100 },
  );
}

const playing = (page: Page): Promise<boolean> =>
  page.evaluate<boolean>("!document.querySelector('video').paused");
const waitForPlaying = (page: Page, wanted: boolean): Promise<boolean> =>
  waitFor(wanted ? 'playback' : 'a pause', async () => (await playing(page)) === wanted);

describe('on a phone', () => {
  it('lists the live stream, plays it, and nothing hangs over the edge', async () => {
    const opened = await openPage(browser, live.process.originUrl, PHONE);
    const { page } = opened;
    await page.getByText('The evening show').first().waitFor({ timeout: 10_000 });
    await page.locator('#streams a, #streams button').first().click();
    await waitForPicture(page);
    const layout = await page.evaluate<{ scroll: number; inner: number; video: number }>(
      "({scroll: document.documentElement.scrollWidth, inner: innerWidth, video: document.querySelector('video').getBoundingClientRect().width})",
    );
    expect(layout.scroll).toBeLessThanOrEqual(layout.inner);
    expect(layout.video).toBeGreaterThan(PHONE.width * 0.85);
    const controls = await page.locator('.controls button:visible').all();
    expect(controls.length).toBeGreaterThanOrEqual(3);
    for (const control of controls) {
      const box = await control.boundingBox();
      expect(box === null ? 0 : box.x + box.width).toBeLessThanOrEqual(PHONE.width);
      expect(Math.min(box?.width ?? 0, box?.height ?? 0)).toBeGreaterThanOrEqual(24);
    }
    expect(opened.exceptions).toEqual([]);
    await opened.close();
  });
});

describe('with the keyboard alone', () => {
  it('reaches and works every control', async () => {
    const opened = await openPage(browser, watchUrl(stream.id));
    const { page } = opened;
    await waitForPicture(page);
    const reached = new Set<string>();
    for (let step = 0; step < 25; step++) {
      await page.keyboard.press('Tab');
      reached.add(await page.evaluate<string>('document.activeElement?.id ?? ""'));
    }
    expect([...reached]).toEqual(expect.arrayContaining(['play', 'mute', 'quality', 'fullscreen']));
    await page.locator('#play').focus();
    await page.keyboard.press('Enter');
    await waitForPlaying(page, false);
    await page.keyboard.press('Enter');
    await waitForPlaying(page, true);
    await opened.close();
  });

  it('knows the keys that it names', async () => {
    const opened = await openPage(browser, watchUrl(stream.id));
    const { page } = opened;
    await waitForPicture(page);
    await page.keyboard.press('Space');
    await waitForPlaying(page, false);
    await page.keyboard.press('Space');
    await waitForPlaying(page, true);
    const muted = (): Promise<boolean> => page.evaluate<boolean>("document.querySelector('video').muted");
    expect(await muted()).toBe(true);
    await page.keyboard.press('m');
    await waitFor('sound', async () => !(await muted()));
    const following = (): Promise<boolean> => page.evaluate<boolean>('player.following');
    await page.keyboard.press('ArrowLeft');
    await waitFor('a distance to the live edge', async () => !(await following()));
    await page.keyboard.press('l');
    await waitFor('the live edge', following);
    expect(opened.exceptions).toEqual([]);
    await opened.close();
  });
});

describe('what it says when there is no picture', () => {
  it('names a stream that does not exist', async () => {
    const opened = await openPage(browser, watchUrl('nowhere'));
    expect(await waitForMessage(opened.page, /There is no stream/)).toContain('nowhere');
    await opened.close();
  });

  it('says that a stream is offline, and plays by itself when it begins', async () => {
    const later = await live.api.create({
      name: 'Later',
      ladder: { rungs: [{ height: 180, bitrateBps: 300_000 }] },
    });
    const opened = await openPage(browser, watchUrl(later.id));
    await waitForMessage(opened.page, /is offline/);
    const late = await live.publish(later, { width: 320, height: 180 });
    const { width } = await waitForPicture(opened.page, 25_000);
    expect(width).toBe(320);
    await opened.close();
    await late.kill();
  });

  it('says that the broadcast was interrupted, and goes on by itself', async () => {
    const opened = await openPage(browser, watchUrl(stream.id));
    await waitForPicture(opened.page);
    await publisher.kill();
    await waitForMessage(opened.page, /interrupted/);
    publisher = await live.publish(stream, SMALL);
    await waitFor(
      'the picture to come back',
      async () => (await opened.page.evaluate<string | null>('player.message')) === null,
      {
        deadlineMs: 20_000,
      },
    );
    expect(opened.exceptions).toEqual([]);
    await opened.close();
  });

  it('says that the broadcast has ended', async () => {
    const opened = await openPage(browser, watchUrl(stream.id));
    await waitForPicture(opened.page);
    await publisher.stop();
    // The playlist is kept open for 10 s after a goodbye.
    expect(await waitForMessage(opened.page, /ended/, 30_000)).toContain('plays here by itself');
    await opened.close();
  });
});
