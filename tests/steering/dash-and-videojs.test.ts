import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '#bench/browser/chromium.ts';
import { checkSteeringManifest } from '#protocol/steering/steering-manifest.ts';
import { parseSteeringQuery } from '#protocol/steering/steering-query.ts';
import {
  RECORDING_PLAYERS,
  startSteeredRecordings,
  type RecordingPlayer,
  type RecordingTab,
  type SteeredRecordings,
} from '#tests/support/steered-recordings.ts';
import { startSteeringNode, type SteeringNode } from '#tests/support/steering-node.ts';
import { hasNoPostgres, startTestPostgres, type TestPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

const CDNS = ['north', 'south', 'west'];
const STREAM = 'recording';
/** Later than a TTL by more than this is not when its answer said. */
const LATE_MAX_MS = 2_500;

/**
 * What is special about each; everything else is the same for all of them. Of DASH, video.js takes a RELOAD-URI other than
 * the manifest's for another steering server, and begins anew when it has moved: it asks again only once its buffer has
 * run empty (http-streaming 3.17.5).
 */
const EXPECTED: Readonly<
  Record<
    RecordingPlayer,
    { readonly prefix: string; readonly quoted: boolean; readonly asksAfterMove: boolean }
  >
> = {
  'video.js with HLS': { prefix: '_HLS_', quoted: false, asksAfterMove: true },
  'video.js with DASH': { prefix: '_DASH_', quoted: false, asksAfterMove: false },
  'dash.js': { prefix: '_DASH_', quoted: true, asksAfterMove: true },
};

describe.skipIf(hasNoPostgres)('dash.js and video.js, steered by the real server', () => {
  let postgres: TestPostgres;
  let node: SteeringNode;
  let browser: Browser;
  let recordings: SteeredRecordings;

  beforeAll(async () => {
    postgres = await startTestPostgres();
    node = await startSteeringNode({
      database: postgres.open({}, await postgres.createDatabase()),
      env: { STEERING_TTL_S: '5', STEERING_TTL_EVENT_S: '5' },
    });
    for (const name of CDNS) {
      const body = { name, baseUrl: `https://${name}.example`, reason: 'the test begins' };
      const { status } = await node.call('POST', '/api/v1/cdns', body);
      if (status !== 201) throw new Error(`POST ${name}: ${status}`);
    }
    recordings = await startSteeredRecordings(CDNS);
    browser = await launchChromium();
  }, 90_000);
  afterAll(async () => {
    await browser?.close();
    await recordings?.close();
    await node?.close();
    await postgres?.close();
  });

  const setWeight = async (name: string, weight: number): Promise<void> => {
    const etag = (await node.call('GET', `/api/v1/cdns/${name}`)).headers.get('etag') ?? '';
    const body = { weight, reason: 'the test' };
    const answer = await node.call('PATCH', `/api/v1/cdns/${name}`, body, { 'if-match': etag });
    if (answer.status !== 200) throw new Error(`PATCH ${name}: ${answer.status}`);
  };
  const answersWith = async (token: string): Promise<number> => {
    const text = await (await fetch(`${node.steering.url}/metrics`)).text();
    return Number(
      new RegExp(`^steering_answers_total{[^}]*token="${token}"[^}]*} (\\d+)`, 'm').exec(text)?.[1] ?? 0,
    );
  };
  const exchanged = (tab: RecordingTab, count: number): Promise<true> =>
    waitFor(`${count} answers`, () => tab.exchanges.length >= count, {
      deadlineMs: count * 12_000,
      intervalMs: 100,
    });

  it.each(RECORDING_PLAYERS)(
    '%s takes list, TTL and RELOAD-URI, and asks again as it should',
    async (player) => {
      const { prefix, quoted } = EXPECTED[player];
      const manifest = await node.ask(STREAM);
      const [first = ''] = manifest['PATHWAY-PRIORITY'];
      const strangersBefore = await answersWith('absent');
      const tab = await recordings.open(browser, player, manifest['RELOAD-URI'], first);
      try {
        await exchanged(tab, 3);
        const exchanges = tab.exchanges.slice(0, 3);
        for (const { status, manifest: answer } of exchanges) {
          expect(status).toBe(200);
          checkSteeringManifest(answer);
          // The session is one throughout, so that its order is, too.
          expect(answer['PATHWAY-PRIORITY']).toEqual(manifest['PATHWAY-PRIORITY']);
        }
        for (const [index, { query, atMs }] of exchanges.entries()) {
          const before = exchanges[index - 1];
          const uri = before === undefined ? manifest['RELOAD-URI'] : before.manifest['RELOAD-URI'];
          // The token comes back byte for byte, and once.
          expect(query.split('&').filter((part) => part.startsWith('session='))).toEqual([uri.split('?')[1]]);
          const waitedMs = before === undefined ? 0 : atMs - before.atMs;
          const ttlMs = before === undefined ? 0 : before.manifest.TTL * 1_000;
          expect(waitedMs).toBeGreaterThanOrEqual(ttlMs - 100);
          expect(before === undefined ? 0 : waitedMs - ttlMs).toBeLessThan(LATE_MAX_MS);
        }
        // Each parameter stands there once, as this player writes it, and is read for what it says.
        for (const { query } of exchanges.slice(1)) {
          const names = query.split('&').map((part) => part.slice(0, part.indexOf('=')));
          expect(names.toSorted()).toEqual([`${prefix}pathway`, `${prefix}throughput`, 'session']);
          expect(query.includes(`${prefix}pathway=%22`)).toBe(quoted);
          const { pathways } = parseSteeringQuery(query);
          expect(pathways.map(({ id }) => id)).toEqual([first]);
          // Bits per second: the recording has some 100 kbit/s, and comes from this machine.
          expect(pathways[0]?.throughputBps).toBeGreaterThan(100_000);
        }
        expect(tab.loads.filter((cdn) => cdn !== first)).toEqual([]);
        expect(await answersWith('absent')).toBe(strangersBefore);
      } finally {
        await tab.close();
      }
    },
  );

  it.each(RECORDING_PLAYERS)('%s goes where a changed list says, with its next answer', async (player) => {
    const manifest = await node.ask(STREAM);
    const [first = '', second = ''] = manifest['PATHWAY-PRIORITY'];
    const tab = await recordings.open(browser, player, manifest['RELOAD-URI'], first);
    try {
      await exchanged(tab, 1);
      await setWeight(first, 0);
      const seen = tab.exchanges.length;
      await exchanged(tab, seen + 1);
      await waitFor(`a segment from ${second}`, () => tab.loads.at(-1) === second, {
        deadlineMs: 15_000,
        intervalMs: 100,
      });
      // It tells of the new pathway, and the server reads that.
      const told = (): boolean =>
        !EXPECTED[player].asksAfterMove ||
        tab.exchanges.some(({ query }) => parseSteeringQuery(query).pathways.at(-1)?.id === second);
      await waitFor(`${second} to be told`, told, { deadlineMs: 20_000, intervalMs: 100 });
      expect(tab.exchanges.map(({ status }) => status)).toEqual(tab.exchanges.map(() => 200));
      const timeS = await tab.timeS();
      await waitFor('the picture to go on', async () => (await tab.timeS()) > timeS + 1, {
        deadlineMs: 15_000,
        intervalMs: 100,
      });
    } finally {
      await tab.close();
      await setWeight(first, 100);
    }
  });

  it.each(RECORDING_PLAYERS)('%s asks no more often than it is told, and never fast', async (player) => {
    const manifest = await node.ask(STREAM);
    const [first = ''] = manifest['PATHWAY-PRIORITY'];
    const tab = await recordings.open(browser, player, manifest['RELOAD-URI'], first);
    try {
      const untilMs = performance.now() + 10_000;
      await waitFor('ten seconds to pass', () => performance.now() > untilMs, { deadlineMs: 15_000 });
      // A TTL is 4 s at least here; a loop would have made hundreds of requests.
      expect(tab.exchanges.length).toBeGreaterThan(0);
      expect(tab.exchanges.length).toBeLessThanOrEqual(4);
      expect(await tab.errors()).toEqual([]);
    } finally {
      await tab.close();
    }
  });
});
