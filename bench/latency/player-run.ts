import { setTimeout as delay } from 'node:timers/promises';
import type { Browser, Page } from 'playwright-core';
import {
  newProbedContext,
  takeScreenReport,
  type Freeze,
  type ScreenReport,
} from '#bench/browser/chromium.ts';
import { barcodeAgeMs } from '#bench/source/clock-barcode.ts';

/** What a player says of itself, once a second. */
export type PlayerView = {
  readonly latencyS: number | null;
  readonly targetLatencyS: number | null;
  readonly height: number;
};

/** One page that played for a while. Times are epoch milliseconds. */
export type PlayerRun = {
  /** Drawing of a frame by the broadcaster → frame on the screen, one value per reading. */
  readonly glassMs: readonly number[];
  /** Readings in which no valid clock was found. */
  readonly unreadable: number;
  /** Interruptions that a viewer sees: playback ran dry, or the picture stood for {@link STALL_MS} or longer. */
  readonly stalls: readonly number[];
  readonly freezes: readonly Freeze[];
  readonly framesPresented: number;
  readonly framesDropped: number;
  readonly bufferedAheadS: readonly number[];
  readonly playbackRates: readonly number[];
  readonly views: readonly PlayerView[];
  /** Whatever the page noted as an error. */
  readonly errors: readonly string[];
};

/** A picture that stands this long has stalled, whether the player noticed or not. */
const STALL_MS = 500;
/** Signs of trouble closer together than this are one stall. */
const ONE_STALL_MS = 1_000;
const FIRST_FRAME_DEADLINE_MS = 20_000;

/** How to ask a page for its {@link PlayerView} and its errors. */
export type PlayerProbe = { readonly view: string; readonly errors: string };

/** hls.js alone, as `bench/browser/page/bare-player.ts` puts it on the window. */
export const BARE_PROBE: PlayerProbe = {
  view: '({latencyS: hls.latency, targetLatencyS: hls.targetLatency, height: hls.levels[hls.currentLevel]?.height ?? 0})',
  errors:
    'hlsEvents.filter((event) => event.name !== "level").map((event) => event.name + " " + event.detail)',
};

/** Our own page; `window.player` is its public face. */
export const OWN_PROBE: PlayerProbe = {
  view: '({latencyS: player.latencyS, targetLatencyS: player.targetLatencyS, height: player.level?.height ?? 0})',
  errors: 'Object.entries(player.errors).map(([name, count]) => name + " × " + count)',
};

/** Opens a page, lets it settle, and measures what is on the screen for `seconds`. */
export async function runPlayer(
  browser: Browser,
  url: string,
  probe: PlayerProbe,
  time: { readonly settleSeconds: number; readonly seconds: number },
  onMeasuring: () => void = () => undefined,
): Promise<PlayerRun> {
  const context = await newProbedContext(browser);
  try {
    const page = await context.newPage();
    await page.goto(url);
    await firstFrame(page);
    await delay(time.settleSeconds * 1_000);
    const start = await takeScreenReport(page);
    onMeasuring();
    const reports: ScreenReport[] = [];
    const views: PlayerView[] = [];
    for (let second = 0; second < time.seconds; second++) {
      await delay(1_000);
      reports.push(await takeScreenReport(page));
      views.push(await page.evaluate<PlayerView>(probe.view));
    }
    const errors = await page.evaluate<string[]>(probe.errors);
    return summariseReports(start, reports, views, errors);
  } finally {
    await context.close();
  }
}

/** From asking for the page to its first picture, in a browser profile that has never seen it. */
export async function measureFirstPicture(browser: Browser, url: string): Promise<number> {
  const context = await newProbedContext(browser);
  try {
    const page = await context.newPage();
    await page.goto(url);
    return await firstFrame(page);
  } finally {
    await context.close();
  }
}

async function firstFrame(page: Page): Promise<number> {
  const endMs = performance.now() + FIRST_FRAME_DEADLINE_MS;
  for (;;) {
    const { firstFrameMs } = await takeScreenReport(page);
    if (firstFrameMs !== undefined) return firstFrameMs;
    if (performance.now() > endMs)
      throw new Error(`no picture within ${FIRST_FRAME_DEADLINE_MS} ms at ${page.url()}`);
    await delay(50);
  }
}

function summariseReports(
  start: ScreenReport,
  reports: readonly ScreenReport[],
  views: readonly PlayerView[],
  errors: readonly string[],
): PlayerRun {
  const last = reports.at(-1) ?? start;
  const freezes = reports.flatMap((report) => report.freezes);
  const trouble = [
    ...reports.flatMap(({ waitingAtMs }) => waitingAtMs),
    ...freezes
      .filter(({ durationMs }) => durationMs >= STALL_MS)
      .map(({ atMs, durationMs }) => atMs - durationMs),
  ];
  return {
    glassMs: reports.flatMap(({ readings }) =>
      readings.map(({ clock, onScreenAtMs }) => barcodeAgeMs(clock, onScreenAtMs)),
    ),
    unreadable: last.unreadable - start.unreadable,
    stalls: mergeStalls(trouble),
    freezes,
    framesPresented: last.framesPresented - start.framesPresented,
    framesDropped: last.framesDropped - start.framesDropped,
    bufferedAheadS: reports.map(({ bufferedAheadS }) => bufferedAheadS),
    playbackRates: reports.map(({ playbackRate }) => playbackRate),
    views,
    errors,
  };
}

/** The times at which stalls began. */
export function mergeStalls(times: readonly number[]): number[] {
  const stalls: number[] = [];
  let previous = -Infinity;
  for (const time of times.toSorted((a, b) => a - b)) {
    if (time - previous > ONE_STALL_MS) stalls.push(time);
    previous = time;
  }
  return stalls;
}
