import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, it } from 'vitest';
import type { CreatedStream } from '#bench/system/stream-api.ts';
import type { SteeringSnapshot } from '#protocol/steering/steering-snapshot.ts';
import { startBreakableCdn, type BreakableCdn, type Breakage } from '#tests/support/breakable-cdn.ts';
import { launchChromium, openPage, waitForPicture, type ProbedPage } from '#tests/support/chromium.ts';
import { startLiveSystem, type LiveSystem } from '#tests/support/live-system.ts';
import { freePort } from '#tests/support/local-cdn.ts';
import { waitFor } from '#tests/support/wait-for.ts';

// The player page as a viewer opens it, by way of the edge, with two CDNs: it plays on when one fails, goes where the operator
// wants it, and says so.

const TTL_S = 5;
const MOVE_DEADLINE_MS = 30_000;
/** Less than hls.js waits at the end of a segment for parts that it takes for missing. */
const WAIT_FOR_PARTS_S = 2;

let live: LiveSystem;
let browser: Browser;
let stream: CreatedStream;
let steeringUrl: string;
const cdns = new Map<string, BreakableCdn>();

beforeAll(async () => {
  const originPort = await freePort();
  const steeringPort = await freePort();
  for (const name of ['north', 'south'])
    cdns.set(name, await startBreakableCdn(`http://127.0.0.1:${originPort}`));
  steeringUrl = `http://127.0.0.1:${steeringPort}`;
  [live, browser] = await Promise.all([
    startLiveSystem({
      ORIGIN_PORT: String(originPort),
      ORIGIN_PLAYER_MEDIA_ORIGINS: [...cdns.values()].map(({ url }) => url).join(','),
      STEERING_PORT: String(steeringPort),
      STEERING_TTL_S: String(TTL_S),
      STEERING_TTL_EVENT_S: String(TTL_S),
      STEERING_PROBE_ALLOWED_TARGETS: '127.0.0.1',
      STEERING_HEALTH_EJECTION_MS: '1000',
      STEERING_HEALTH_EJECTION_MAX_MS: '1000',
      STEERING_HEALTH_RAMP_PERCENT: '25,50',
      STEERING_HEALTH_RAMP_STEP_MS: '1000',
    }),
    launchChromium(),
  ]);
  stream = await live.api.create({
    name: 'The evening show',
    ladder: {
      rungs: [
        { height: 360, bitrateBps: 800_000 },
        { height: 180, bitrateBps: 250_000 },
      ],
      preset: 'ultrafast',
    },
  });
  await live.goLive(stream, { width: 640, height: 360 });
  for (const [name, { url }] of cdns)
    await api('POST', '/api/v1/cdns', { name, baseUrl: url, weight: 50, reason: 'the test' });
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await live?.close();
  for (const cdn of cdns.values()) await cdn.close();
});

async function api(method: string, route: string, body?: object, ifMatch = ''): Promise<Response> {
  const response = await fetch(`${steeringUrl}${route}`, {
    method,
    headers: {
      authorization: `Bearer ${live.process.adminToken}`,
      'content-type': 'application/json',
      ...(ifMatch === '' ? {} : { 'if-match': ifMatch }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${method} ${route}: ${response.status} ${await response.text()}`);
  return response;
}
async function setWeight(name: string, weight: number): Promise<void> {
  const etag = (await api('GET', `/api/v1/cdns/${name}`)).headers.get('etag') ?? '';
  await api('PATCH', `/api/v1/cdns/${name}`, { weight, reason: 'the test' }, etag);
}
const cdn = (name: string): BreakableCdn => {
  const found = cdns.get(name);
  if (found === undefined) throw new Error(`the page names a CDN ${name}`);
  return found;
};

describe('the player page with two CDNs', () => {
  let opened: ProbedPage;
  let first: string;
  const violations: string[] = [];
  const media: URL[] = [];
  const preflights: string[] = [];

  beforeEach(async () => {
    await Promise.all([...cdns.values()].map((each) => each.heal()));
    for (const name of cdns.keys()) await setWeight(name, 50);
    await waitFor(
      'both CDNs to be healthy',
      async () => {
        const snapshot = (await (await api('GET', '/steering/v1/snapshot')).json()) as SteeringSnapshot;
        return snapshot.cdns.length === cdns.size && snapshot.cdns.every(({ health }) => health === 1);
      },
      { deadlineMs: 60_000, intervalMs: 200 },
    );
    const master = `${live.process.edgeUrl}/live/${stream.id}/master.m3u8?steering=1`;
    await waitFor(
      'the edge to know them',
      async () => {
        const text = await (await fetch(master)).text();
        return [...cdns.keys()].every((name) => text.includes(`PATHWAY-ID="${name}"`));
      },
      { deadlineMs: 30_000, intervalMs: 200 },
    );
    opened = await openPage(browser, 'about:blank');
    violations.length = media.length = preflights.length = 0;
    opened.page.on('console', (message) => {
      if (message.text().includes('Content Security Policy')) violations.push(message.text());
    });
    opened.page.on('request', (request) => {
      if (request.method() === 'OPTIONS') preflights.push(request.url());
      if (request.url().includes('.m4s')) media.push(new URL(request.url()));
    });
    await opened.page.goto(`${live.process.originUrl}/watch/${stream.id}`);
    await waitForPicture(opened.page);
    // As a viewer who is in the middle of the show, not one whose buffer is being filled.
    const from = await timeS();
    await waitFor('some seconds of play', async () => (await timeS()) > from + 3, { deadlineMs: 20_000 });
    first = await waitFor('a pathway', pathwayNow, { deadlineMs: 15_000 });
  });
  afterEach(async () => {
    await opened.close();
    if (violations.length > 0) throw new Error(`the page did what it must not: ${violations.join('; ')}`);
  });

  const pathwayNow = async (): Promise<string | undefined> =>
    (await opened.page.textContent('#pathway-now')) || undefined;
  const timeS = (): Promise<number> => opened.page.evaluate("document.querySelector('video').currentTime");
  const movesAndPlaysOn = async (): Promise<string> => {
    const next = await waitFor(
      `the page to leave ${first}`,
      async () => {
        const now = await pathwayNow();
        return now === first ? undefined : now;
      },
      { deadlineMs: MOVE_DEADLINE_MS },
    );
    const from = await timeS();
    await waitFor('pictures to go on', async () => (await timeS()) > from + 2, { deadlineMs: 20_000 });
    return next;
  };

  it('tells CDNs what CMCD has, in the query and without preflights', async () => {
    await waitFor(
      'media from the CDN',
      () => media.filter(({ port }) => port === String(cdn(first).port)).length > 3,
      {
        deadlineMs: 15_000,
      },
    );
    for (const { searchParams } of media) {
      expect(searchParams.get('CMCD')).toMatch(/sid="[^"]+"/);
      expect(searchParams.get('CMCD')).toMatch(/sf=h/);
    }
    expect(
      new Set(media.map(({ searchParams }) => /sid="([^"]+)"/.exec(searchParams.get('CMCD') ?? '')?.[1]))
        .size,
    ).toBe(1);
    expect(preflights).toEqual([]);
  });

  it.each([
    ['is gone', undefined, /no connection to/],
    ['answers 503', { kind: 'status', status: 503 }, /answered 503/],
    ['hangs', { kind: 'hangs' }, /did not answer/],
    ['is slow beyond its lowest rung', { kind: 'slow', bytesPerSecond: 8_000 }, /too slow/],
    ['stands still', { kind: 'frozen' }, /stood still/],
  ] as const)(
    'plays on elsewhere and says why when its CDN %s',
    async (_what, breakage: Breakage | undefined, why) => {
      const failing = cdn(first);
      const before = await opened.page.evaluate<number>('window.player.stalledMs');
      if (breakage === undefined) await failing.refuse();
      else failing.breakage = breakage;
      const startMs = performance.now();
      const next = await movesAndPlaysOn();
      const spans = await opened.page.evaluate<{ pathway: string; reason: { kind: string } }[]>(
        'window.player.pathwaySpans',
      );
      console.log(
        `${_what}: ${Math.round(performance.now() - startMs)} ms with 2 s of play, stalled`,
        (await opened.page.evaluate<number>('window.player.stalledMs')) - before,
        JSON.stringify(spans),
      );
      expect(cdns.has(next)).toBe(true);
      // Steering may notice as soon as the page does; both are right.
      const said = await opened.page.locator('#pathway-list li:not(.stall)').allTextContents();
      expect(said).toHaveLength(spans.length);
      expect(said.at(-1)).toContain(first);
      expect(said.at(-2)).toContain(next);
      expect(said.at(-2)).toMatch(spans[1]?.reason.kind === 'steering' ? /steering server/ : why);
      expect(await opened.page.locator('#pathway-bar rect.switch').count()).toBeGreaterThan(0);
    },
  );

  it('goes where the operator wants it, and says that steering did it', async () => {
    await setWeight(first, 0);
    const next = await movesAndPlaysOn();
    expect(await opened.page.textContent('#pathway-why')).toContain('the steering server said so');
    // Where in a segment a move falls is chance: there and back, until one has fallen into the middle of one.
    for (let moves = 0; moves < 4; moves++) {
      const from = (await pathwayNow()) ?? '';
      await setWeight(from === first ? next : first, 50);
      await setWeight(from, 0);
      await waitFor('the next move', async () => (await pathwayNow()) !== from, {
        deadlineMs: MOVE_DEADLINE_MS,
      });
      const sinceS = await timeS();
      await waitFor('pictures to go on', async () => (await timeS()) > sinceS + 3, { deadlineMs: 20_000 });
    }
    const spans = await opened.page.evaluate<{ reason: { kind: string } }[]>('window.player.pathwaySpans');
    expect(spans.slice(1).map(({ reason }) => reason.kind)).toEqual(spans.slice(1).map(() => 'steering'));
    const stalls = await opened.page.locator('#pathway-list li.stall').allTextContents();
    const longestS = Math.max(0, ...stalls.map((text) => Number(/for ([\d.]+) s/.exec(text)?.[1] ?? 0)));
    expect(longestS, 'waiting for parts that came from the pathway before').toBeLessThan(WAIT_FOR_PARTS_S);
    await opened.page.locator('#pathways summary').focus();
    await opened.page.keyboard.press('Enter');
    // Not always the newest entry: a standstill after the move has one of its own.
    const entries = await opened.page.locator('#pathway-list li').allInnerTexts();
    expect(entries).toContainEqual(expect.stringContaining(next));
    for (const width of [1280, 390]) {
      await opened.page.setViewportSize({ width, height: 844 });
      const layout = await opened.page.evaluate<number[]>(
        '[document.documentElement.scrollWidth, innerWidth]',
      );
      expect(layout[0]).toBeLessThanOrEqual(layout[1] ?? 0);
    }
  });
});
