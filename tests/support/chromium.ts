import type { Browser, BrowserContext, Page } from 'playwright-core';
import { newProbedContext, takeScreenReport, type ScreenReport } from '#bench/browser/chromium.ts';
import { waitFor } from '#tests/support/wait-for.ts';

export { launchChromium, takeScreenReport, type ScreenReport } from '#bench/browser/chromium.ts';

/** A page with the screen probe, in a browser profile of its own. */
export type ProbedPage = {
  readonly page: Page;
  readonly context: BrowserContext;
  /** Statuses of all answers that were not 2xx or 3xx, with their URLs. */
  readonly failedRequests: string[];
  /** Uncaught exceptions of the page. */
  readonly exceptions: string[];
  close(): Promise<void>;
};

/** Opens a URL in a fresh profile. */
export async function openPage(
  browser: Browser,
  url: string,
  viewport = { width: 1280, height: 800 },
): Promise<ProbedPage> {
  const context = await newProbedContext(browser, viewport);
  const page = await context.newPage();
  const failedRequests: string[] = [];
  const exceptions: string[] = [];
  page.on('response', (response) => {
    if (response.status() >= 400) failedRequests.push(`${response.status()} ${response.url()}`);
  });
  page.on('pageerror', (error) => exceptions.push(error.message));
  await page.goto(url);
  return { page, context, failedRequests, exceptions, close: () => context.close() };
}

/** What has been decoded and played so far; two of them show whether picture and sound both advance. */
export type PlaybackProgress = {
  readonly currentTimeS: number;
  readonly videoFrames: number;
  readonly audioBytes: number;
};

/** Reads the counters of the page's video element. */
export function playbackProgress(page: Page): Promise<PlaybackProgress> {
  return page.evaluate<PlaybackProgress>(`(() => {
    const video = document.querySelector('video');
    return {
      currentTimeS: video.currentTime,
      videoFrames: video.getVideoPlaybackQuality().totalVideoFrames,
      audioBytes: video.webkitAudioDecodedByteCount,
    };
  })()`);
}

/** Waits for the first picture and forgets what the probe has seen of the start. */
export async function waitForPicture(page: Page, deadlineMs = 20_000): Promise<ScreenReport> {
  return waitFor(
    'the first picture',
    async () => {
      const report = await takeScreenReport(page);
      return report.firstFrameMs === undefined || report.framesPresented < 5 ? undefined : report;
    },
    { deadlineMs, intervalMs: 100 },
  );
}

/** Waits until pictures of this height are on the screen. */
export async function waitForHeight(page: Page, height: number, deadlineMs = 15_000): Promise<void> {
  await waitFor(`pictures of ${height} lines`, async () => (await takeScreenReport(page)).height === height, {
    deadlineMs,
    intervalMs: 100,
  });
}
