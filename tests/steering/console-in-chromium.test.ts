import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '#bench/browser/chromium.ts';
import { systemClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { createSteering, type Steering } from '#steering/service.ts';
import { readSteeringSettings } from '#steering/settings.ts';
import { startFaultProxy } from '#tests/support/fault-proxy.ts';
import { startLocalCdn, type LocalCdn } from '#tests/support/local-cdn.ts';
import { startSyntheticOrigin, type SyntheticOrigin } from '#tests/support/synthetic-ll-hls.ts';
import { hasNoPostgres, startTestPostgres, type TestPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

const ADMIN = 'admin-token-of-the-tests';
/** Where screenshots go when somebody wants to look at them. */
const SCREENSHOTS = process.env['SCREENSHOTS'];

describe.skipIf(hasNoPostgres)('the console in Chromium', () => {
  let origin: SyntheticOrigin;
  let postgres: TestPostgres;
  let steering: Steering;
  let browser: Browser;
  let folder: string;
  const cdns = new Map<string, LocalCdn>();

  const api = async (method: string, route: string, body?: object, token = ADMIN): Promise<Response> => {
    const response = await fetch(`${steering.url}${route}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${route}: ${response.status} ${await response.text()}`);
    return response;
  };
  /** Share of new sessions whose first pathway is `cdn`. */
  const splitOf = async (cdn: string, sessions = 400): Promise<number> => {
    let first = 0;
    for (let session = 0; session < sessions; session++) {
      const answer = await fetch(`${steering.url}/steering/v1/demo`);
      const manifest = (await answer.json()) as { 'PATHWAY-PRIORITY': string[] };
      if (manifest['PATHWAY-PRIORITY'][0] === cdn) first++;
    }
    return first / sessions;
  };
  const open = async (
    token = ADMIN,
    viewport = { width: 1280, height: 900 },
    baseUrl = steering.url,
  ): Promise<Page & { problems: string[] }> => {
    const context = await browser.newContext({ viewport });
    const page = Object.assign(await context.newPage(), { problems: [] as string[] });
    page.on('pageerror', (error) => page.problems.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') page.problems.push(message.text());
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(baseUrl)) page.problems.push(`foreign request ${request.url()}`);
    });
    await page.goto(`${baseUrl}/console/`);
    await page.fill('#token', token);
    await page.press('#token', 'Enter');
    return page;
  };
  const card = (page: Page, cdn: string) => page.locator(`article[data-cdn="${cdn}"]`);
  const shot = async (page: Page, name: string): Promise<void> => {
    if (SCREENSHOTS !== undefined)
      await page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`), fullPage: true });
  };

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'steering-console-'));
    origin = await startSyntheticOrigin({ partMs: 333, partsPerSegment: 6 });
    for (const name of ['north', 'south', 'west'])
      cdns.set(name, await startLocalCdn('nginx', { originUrl: origin.url }));
    postgres = await startTestPostgres();
    const database = postgres.open({}, await postgres.createDatabase());
    const settings = readSteeringSettings({
      ADMIN_TOKEN: ADMIN,
      DATA_DIR: folder,
      STEERING_PORT: '0',
      STEERING_HOST: '127.0.0.1',
      STEERING_ORIGIN_URLS: origin.url,
      STEERING_PROBE_ALLOWED_TARGETS: '127.0.0.1',
      STEERING_HEALTH_EJECTION_MS: '2000',
      STEERING_HEALTH_RAMP_STEP_MS: '1000',
    });
    steering = await createSteering(settings, {
      clock: systemClock,
      logger: createLogger('steering', 'silent'),
      metrics: createMetrics('steering'),
      database,
    });
    for (const [name, { url }] of cdns)
      await api('POST', '/api/v1/cdns', { name, baseUrl: url, weight: 100, reason: 'the test begins' });
    browser = await launchChromium();
  }, 120_000);
  afterAll(async () => {
    await browser.close();
    await steering.close();
    await postgres.close();
    for (const cdn of cdns.values()) await cdn.close();
    await origin.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('refuses a token that is none, and keeps a good one for the tab alone', async () => {
    const page = await open('not-the-token');
    await page.getByRole('alert').getByText('not accepted').waitFor();
    await page.fill('#token', ADMIN);
    await page.press('#token', 'Enter');
    await page.getByText('admin-token (admin)').waitFor();
    await page.reload();
    await card(page, 'north').waitFor();
    expect(await page.evaluate<string>('localStorage.length + document.cookie')).toBe('0');
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.locator('#token').waitFor();
    expect(await page.evaluate<number>('sessionStorage.length')).toBe(0);
    await page.context().close();
  });

  it('shows CDNs, their health and the connection, without a complaint of the browser', async () => {
    const page = await open();
    for (const name of cdns.keys())
      await card(page, name).locator('.badge.healthy').waitFor({ timeout: 20_000 });
    await page.locator('#connection.live').waitFor();
    await page.locator('.chart.factor path.line[d*="M"]').first().waitFor({ state: 'attached' });
    await page.locator('.components dt', { hasText: 'hold' }).first().waitFor();
    expect(await card(page, 'north').getByText('33 %').isVisible()).toBe(true);
    expect(page.problems).toEqual([]);
    await shot(page, 'console-healthy');
    await page.context().close();
  });

  it('moves the split with a slider, by keyboard alone, after a preview with a reason', async () => {
    const page = await open();
    const north = card(page, 'north');
    const slider = north.getByRole('slider', { name: 'Weight of north' });
    await slider.focus();
    await page.keyboard.press('PageDown');
    for (let press = 0; press < 200; press++) {
      if ((await slider.inputValue()) === '50') break;
      await page.keyboard.press('ArrowLeft');
    }
    expect(await north.locator('input[type=number]').inputValue()).toBe('50');
    const apply = north.getByRole('button', { name: 'Apply' });
    expect(await apply.isDisabled()).toBe(true);
    await north.getByLabel('Reason').fill('half of north for a while');
    expect(await apply.isDisabled()).toBe(true);
    await page.keyboard.press('Enter');
    await north.getByText('of sessions would move').waitFor();
    await shot(page, 'console-preview');
    expect(await splitOf('north', 200)).toBeGreaterThan(0.24);
    // A change after the preview makes a new one necessary.
    await slider.press('ArrowLeft');
    expect(await apply.isDisabled()).toBe(true);
    await slider.press('ArrowRight');
    await north.getByRole('button', { name: 'Preview' }).press('Enter');
    await north.getByText('of sessions would move').waitFor();
    await apply.press('Enter');
    await page.locator('#notices').getByText('north is changed').waitFor();
    await north.locator('.figures').getByText('20 %').waitFor();
    expect(await page.locator('.split [data-cdn=north]').getAttribute('title')).toBe('north: 20 %');
    expect(Math.abs((await splitOf('north', 600)) - 0.2)).toBeLessThan(0.06);
    const entry = page.locator('#audit li').first();
    await entry.getByText('half of north for a while').waitFor();
    expect(await entry.textContent()).toContain('weight 100 → 50');
    expect(page.problems).toEqual([]);
    await page.context().close();
  });

  it('shows what another operator does, at once, and does not overwrite it', async () => {
    const page = await open();
    const south = card(page, 'south');
    await page.locator('#connection.live').waitFor();
    await south.locator('input[type=number]').fill('70');
    await south.getByLabel('Reason').fill('mine');
    await south.getByRole('button', { name: 'Preview' }).click();
    await south.getByText('of sessions would move').waitFor();
    const seen = (await (await api('GET', '/api/v1/cdns/south')).json()) as { generation: number };
    const answer = await fetch(`${steering.url}/api/v1/cdns/south`, {
      method: 'PATCH',
      headers: {
        authorization: `Bearer ${ADMIN}`,
        'content-type': 'application/json',
        'if-match': `"${seen.generation}"`,
      },
      body: JSON.stringify({ weight: 150, reason: 'theirs' }),
    });
    expect(answer.status).toBe(200);
    await page.locator('#audit li').first().getByText('theirs').waitFor();
    // What is being edited stays, and says against what.
    expect(await south.locator('input[type=number]').inputValue()).toBe('70');
    await south.getByText('weight 150 → 70').waitFor();
    await south.getByRole('button', { name: 'Discard' }).click();
    expect(await south.locator('input[type=number]').inputValue()).toBe('150');
    await page.context().close();
  });

  it('turns a killed CDN red, and the answers leave it out', async () => {
    const page = await open();
    const west = card(page, 'west');
    await west.locator('.badge.healthy').waitFor();
    const colour = (): Promise<string> =>
      page.evaluate("getComputedStyle(document.querySelector('article[data-cdn=west]')).borderLeftColor");
    expect(await west.getAttribute('data-state')).toBe('healthy');
    await cdns.get('west')?.kill();
    await west.locator('.badge.ejected').waitFor({ timeout: 10_000 });
    await west.getByText('connect refused').waitFor();
    expect(await west.getAttribute('data-state')).toBe('ejected');
    expect(await colour()).toBe('rgb(185, 28, 28)');
    await west.locator('.band.ejected').first().waitFor({ state: 'attached', timeout: 10_000 });
    await shot(page, 'console-ejected');
    const manifest = (await (await fetch(`${steering.url}/steering/v1/demo`)).json()) as {
      'PATHWAY-PRIORITY': string[];
    };
    expect(manifest['PATHWAY-PRIORITY']).not.toContain('west');
    await cdns.get('west')?.start();
    await west.locator('.badge.healthy').waitFor({ timeout: 30_000 });
    await page.context().close();
  });

  it('lets viewers look and change nothing', async () => {
    const created = (await (
      await api('POST', '/api/v1/tokens', { name: 'looker', role: 'viewer', reason: 'the test' })
    ).json()) as { token: string };
    const page = await open(created.token);
    await page.getByText('looker (viewer)').waitFor();
    await card(page, 'north').waitFor();
    expect(await card(page, 'north').getByRole('slider').isDisabled()).toBe(true);
    expect(await card(page, 'north').getByRole('switch').isDisabled()).toBe(true);
    await page.context().close();
  });

  it('lists streams with viewers and pathways', async () => {
    for (let session = 0; session < 30; session++) await fetch(`${steering.url}/steering/v1/demo`);
    const page = await open();
    const row = page.locator('tr[data-stream=demo]');
    await row.waitFor({ timeout: 15_000 });
    expect(await row.locator('.pathways li').count()).toBe(3);
    await page.context().close();
  });

  it('fits a phone, and says when the connection is lost', async () => {
    const way = await startFaultProxy(steering.port);
    const page = await open(ADMIN, { width: 360, height: 740 }, way.url);
    await card(page, 'north').waitFor();
    expect(await page.evaluate<number>('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360);
    await shot(page, 'console-phone');
    await way.refuse();
    await page.locator('#connection.lost').waitFor({ timeout: 10_000 });
    await way.heal();
    await waitFor('the connection to be back', () => page.locator('#connection.live').isVisible(), {
      deadlineMs: 40_000,
      intervalMs: 200,
    });
    await page.context().close();
    await way.close();
  });
});
