import { chromium, type Browser, type BrowserContext } from 'playwright-core';
import { bundlePageScript } from '#bench/browser/bundle.ts';
import type { ScreenReport } from '#bench/browser/page/screen-probe-types.ts';

export type { ScreenReport, ClockReading, Freeze } from '#bench/browser/page/screen-probe-types.ts';

const EXECUTABLE = process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium';

/**
 * Why each switch: the sandbox needs rights that a container lacks; a muted video may start by itself anyway, the policy
 * switch also lets one with sound; timers and rendering of a page that nobody looks at must not be slowed down.
 */
const SWITCHES = [
  '--no-sandbox',
  '--disable-dev-shm-usage',
  '--autoplay-policy=no-user-gesture-required',
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
  '--mute-audio',
];

/** Starts the headless Chromium that all tests and the bench use. Close it. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: EXECUTABLE, args: SWITCHES, headless: true });
}

/** A fresh profile whose pages carry the screen probe. Nothing is cached from an earlier one. */
export async function newProbedContext(
  browser: Browser,
  viewport = { width: 1280, height: 800 },
): Promise<BrowserContext> {
  const context = await browser.newContext({ viewport });
  await context.addInitScript({ content: await bundlePageScript('screen-probe') });
  return context;
}

/** What the probe of a page has seen since it was asked last. */
export function takeScreenReport(page: {
  evaluate<Result>(script: string): Promise<Result>;
}): Promise<ScreenReport> {
  return page.evaluate<ScreenReport>('window.screenProbe.take()');
}
