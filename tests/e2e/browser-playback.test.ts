import { setTimeout as delay } from 'node:timers/promises';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serveBarePage, type BarePageServer } from '#bench/browser/bare-page.ts';
import type { CreatedStream } from '#bench/system/stream-api.ts';
import {
  launchChromium,
  openPage,
  playbackProgress,
  takeScreenReport,
  type ScreenReport,
  waitForHeight,
  waitForPicture,
} from '#tests/support/chromium.ts';
import { startLiveSystem, type LiveSystem } from '#tests/support/live-system.ts';
import { recordStream } from '#tests/support/ll-hls-client.ts';
import { expectConformance, expectMedia } from '#tests/support/run-judgement.ts';

// One 720p stream with the default ladder, from a real ffmpeg through everything, for all tests of this file.
let live: LiveSystem;
let stream: CreatedStream;
let browser: Browser;
let bare: BarePageServer;

const PLAY_SECONDS = 30;
/** A picture that stands this long is a stall for whoever watches. */
const STALL_MS = 500;
/** Rungs of the default ladder for a 720p source. */
const HEIGHTS = [720, 480, 360];

beforeAll(async () => {
  [live, browser, bare] = await Promise.all([startLiveSystem(), launchChromium(), serveBarePage()]);
  stream = await live.api.create({ name: 'playback' });
  await live.goLive(stream, { width: 1280, height: 720, videoBitrate: '3000k' });
});

afterAll(async () => {
  await browser?.close();
  await bare?.close();
  await live?.close();
});

/** Plays on for a while and expects that sound and picture advance and the picture never stands still. */
async function expectSmoothPlayback(page: Page, seconds: number): Promise<ScreenReport> {
  await waitForPicture(page);
  // The way from the start to the live edge (a seek, a change of speed) is not what is judged.
  await delay(3_000);
  await takeScreenReport(page);
  const before = await playbackProgress(page);
  await delay(seconds * 1_000);
  const after = await playbackProgress(page);
  const report = await takeScreenReport(page);
  expect(report.freezes.filter(({ durationMs }) => durationMs >= STALL_MS)).toEqual([]);
  expect(after.currentTimeS - before.currentTimeS).toBeGreaterThan(seconds - 1);
  expect(after.videoFrames - before.videoFrames).toBeGreaterThan(seconds * 20);
  expect(after.audioBytes - before.audioBytes).toBeGreaterThan(seconds * 1_000);
  return report;
}

describe('bare hls.js', () => {
  it('plays for 30 s without a stall, and every playlist of that time is valid', async () => {
    const recording = await recordStream(stream.playlistUrl);
    const opened = await openPage(
      browser,
      bare.pageUrl(stream.playlistUrl, { maxLiveSyncPlaybackRate: 1.5 }),
    );
    const { waitingAtMs } = await expectSmoothPlayback(opened.page, PLAY_SECONDS);
    expect(waitingAtMs).toEqual([]);
    const run = await recording.stop();
    expect(await opened.page.evaluate('hlsEvents.filter((event) => event.name !== "level")')).toEqual([]);
    expect(opened.failedRequests).toEqual([]);
    expect(opened.exceptions).toEqual([]);
    await opened.close();
    expectMedia(run, { renditions: HEIGHTS.length + 1, partsEach: PLAY_SECONDS * 2 });
    expectConformance(run);
  });

  it('reaches every rung by force', async () => {
    const opened = await openPage(browser, bare.pageUrl(stream.playlistUrl));
    await waitForPicture(opened.page);
    const heights = await opened.page.evaluate<number[]>('hls.levels.map((level) => level.height)');
    expect(heights.toSorted((a, b) => b - a)).toEqual(HEIGHTS);
    for (const [level, height] of heights.entries()) {
      await opened.page.evaluate(`hls.currentLevel = ${level}`);
      await waitForHeight(opened.page, height);
    }
    expect(opened.failedRequests).toEqual([]);
    await opened.close();
  });

  it('plays with lowLatencyMode off and is never answered 400', async () => {
    const opened = await openPage(browser, bare.pageUrl(stream.playlistUrl, { lowLatencyMode: false }));
    await expectSmoothPlayback(opened.page, 10);
    expect(opened.failedRequests).toEqual([]);
    await opened.close();
  });
});

describe('our player page', () => {
  // It goes as near to the live edge as the machine allows and falls back when a part comes late: a hiccup of a busy
  // machine may show as a short `waiting`. How often that happens on a quiet one is a figure of the bench.
  it('plays for 30 s without a stall', async () => {
    const opened = await openPage(browser, `${live.process.originUrl}/watch/${stream.id}`);
    await expectSmoothPlayback(opened.page, PLAY_SECONDS);
    const state = await opened.page.evaluate<{ phase: string; message: string | null }>(
      '({phase: player.phase, message: player.message})',
    );
    expect(state).toEqual({ phase: 'playing', message: null });
    expect(opened.failedRequests).toEqual([]);
    expect(opened.exceptions).toEqual([]);
    await opened.close();
  });

  it('reaches every rung by its quality menu', async () => {
    const opened = await openPage(browser, `${live.process.originUrl}/watch/${stream.id}`);
    await waitForPicture(opened.page);
    const options = await opened.page.evaluate<{ index: number; height: number }[]>(
      'player.levels.map((level) => ({...level}))',
    );
    expect(options.map(({ height }) => height).toSorted((a, b) => b - a)).toEqual(HEIGHTS);
    for (const { index, height } of options) {
      await opened.page.selectOption('#quality', String(index));
      await waitForHeight(opened.page, height);
    }
    await opened.close();
  });
});
