import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '#bench/browser/chromium.ts';
import { startLiveSystem, waitForPlaylist, type LiveSystem } from '#tests/support/live-system.ts';
import { startLocalCdn, type LocalCdn } from '#tests/support/local-cdn.ts';
import { startStubServer } from '#tests/support/stub-server.ts';
import { hasNoPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

const HLS_SCRIPT = createRequire(import.meta.url).resolve('hls.js/dist/hls.min.js');
/** From the kill: until probes have seen it, until the next reload, and until its media have come. */
const GOES_ON_DEADLINE_MS = 20_000;

describe.skipIf(hasNoPostgres)('players that do not steer, when their CDN is killed', () => {
  let live: LiveSystem;
  let browser: Browser;
  let masterUrl: string;
  const cdns = new Map<string, LocalCdn>();

  /** The CDN that the edge gives to players of this flavour now. */
  const cdnOf = async (playlistUrl: string): Promise<string> => {
    const media = /URI="(http:\/\/[^/]+)\//.exec(await (await fetch(playlistUrl)).text())?.[1] ?? '';
    return [...cdns].find(([, { url }]) => url === media)?.[0] ?? '';
  };
  const revive = async (name: string): Promise<void> => {
    await cdns.get(name)?.start();
    await waitFor(`${name} to be in use again`, async () => (await cdnOf(flavourUrl(name))) === name, {
      deadlineMs: 30_000,
      intervalMs: 200,
    });
  };
  const flavourUrl = (name: string): string =>
    masterUrl.replace('master.m3u8', `via/${name}/180p/index.m3u8`);

  beforeAll(async () => {
    live = await startLiveSystem({
      STEERING_PROBE_ALLOWED_TARGETS: '127.0.0.1',
      STEERING_HEALTH_EJECTION_MS: '1000',
      STEERING_HEALTH_EJECTION_MAX_MS: '1000',
      STEERING_HEALTH_RAMP_PERCENT: '50',
      STEERING_HEALTH_RAMP_STEP_MS: '1000',
    });
    const stream = await live.api.create({
      ladder: { rungs: [{ height: 180, bitrateBps: 300_000 }], preset: 'ultrafast' },
    });
    const { playlists } = await live.goLive(stream, { width: 320, height: 180, videoBitrate: '400k' });
    masterUrl = `${live.process.edgeUrl}/live/${stream.id}/master.m3u8`;
    const steeringUrl = /CDN console +(http:\/\/\S+)\/console\//.exec(live.process.output())?.[1] ?? '';
    for (const name of ['north', 'south']) {
      const cdn = await startLocalCdn('nginx', { originUrl: live.process.originUrl });
      cdns.set(name, cdn);
      const added = await fetch(`${steeringUrl}/api/v1/cdns`, {
        method: 'POST',
        headers: { authorization: `Bearer ${live.process.adminToken}`, 'content-type': 'application/json' },
        body: JSON.stringify({ name, baseUrl: cdn.url, reason: 'the test begins' }),
      });
      if (added.status !== 201) throw new Error(`${name} was answered ${added.status}`);
    }
    browser = await launchChromium();
    await waitForPlaylist(
      'some segments',
      playlists[0] ?? '',
      ({ segments }) => segments.length >= 6,
      30_000,
    );
    for (const name of cdns.keys()) await revive(name);
  }, 90_000);
  afterAll(async () => {
    await browser?.close();
    for (const cdn of cdns.values()) await cdn.close();
    await live?.close();
  });

  it('ffmpeg plays on from the other', async () => {
    const ffmpeg = spawn(
      'ffmpeg',
      [
        '-nostdin',
        '-loglevel',
        'error',
        '-progress',
        'pipe:1',
        '-i',
        masterUrl,
        '-c',
        'copy',
        '-f',
        'null',
        '-',
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let playedS = 0;
    let said = '';
    ffmpeg.stdout.on('data', (bytes: Buffer) => {
      for (const [, us] of bytes.toString().matchAll(/^out_time_us=(\d+)$/gm)) playedS = Number(us) / 1e6;
    });
    ffmpeg.stderr.on('data', (bytes: Buffer) => (said = (said + bytes.toString()).slice(-4_000)));
    try {
      await waitFor('ffmpeg to play', () => playedS > 1, { deadlineMs: 20_000 });
      const used = /via\/(\w+)\//.exec(await masterOf('Lavf/59'))?.[1] ?? '';
      expect([...cdns.keys()]).toContain(used);
      // Which one it loads from only it knows, so each is killed in turn.
      for (const victim of cdns.keys()) {
        await cdns.get(victim)?.kill();
        const atS = playedS;
        await waitFor(`ffmpeg to play on without ${victim}: ${said}`, () => playedS > atS + 6, {
          deadlineMs: GOES_ON_DEADLINE_MS,
        });
        await revive(victim);
      }
      expect(ffmpeg.exitCode).toBeNull();
    } catch (error) {
      throw new Error(`ffmpeg at ${playedS} s: ${said}`, { cause: error });
    } finally {
      ffmpeg.kill('SIGKILL');
    }
  }, 120_000);

  const masterOf = async (userAgent: string): Promise<string> =>
    (await fetch(masterUrl, { headers: { 'user-agent': userAgent } })).text();

  it('hls.js without steering plays on from the other', async () => {
    const script = await readFile(HLS_SCRIPT, 'utf8');
    const pages = await startStubServer((request, response) => {
      if (request.url === '/hls.js')
        response.writeHead(200, { 'content-type': 'text/javascript' }).end(script);
      else response.writeHead(200, { 'content-type': 'text/html' }).end(page(`${masterUrl}?steering=0`));
    });
    const tab = await browser.newPage();
    const playlists: string[] = [];
    tab.on('request', (request) => {
      if (request.url().includes('/via/')) playlists.push(request.url());
    });
    const timeS = (): Promise<number> => tab.evaluate('document.querySelector("video").currentTime');
    try {
      await tab.goto(pages.url);
      await waitFor('hls.js to play', async () => (await timeS()) > 1, {
        deadlineMs: 20_000,
        intervalMs: 100,
      });
      // The player loads from one CDN only: its name is in the URLs of the playlists.
      const used = new Set(playlists.map((url) => /\/via\/(\w+)\//.exec(url)?.[1] ?? ''));
      const [victim = ''] = used;
      expect([...cdns.keys()]).toContain(victim);
      await cdns.get(victim)?.kill();
      const atS = await timeS();
      await waitFor(`hls.js to play on without ${victim}`, async () => (await timeS()) > atS + 8, {
        deadlineMs: GOES_ON_DEADLINE_MS,
        intervalMs: 100,
      });
      await revive(victim);
    } finally {
      await tab.close();
      await pages.close();
    }
  }, 120_000);
});

function page(url: string): string {
  return `<!doctype html><video muted playsinline></video><script src="/hls.js"></script><script>
  const video = document.querySelector('video');
  const hls = new Hls({ liveSyncDuration: 4 });
  hls.on(Hls.Events.MANIFEST_PARSED, () => video.play());
  hls.loadSource(${JSON.stringify(url)});
  hls.attachMedia(video);
</script>`;
}
