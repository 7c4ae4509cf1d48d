import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startLiveSystem, type LiveSystem } from '#tests/support/live-system.ts';
import { strictParserComplaint } from '#tests/support/strict-parser.ts';
import { waitFor } from '#tests/support/wait-for.ts';

// A real broadcast, rewound while it runs and watched again when it is over, by ffprobe.
const run = promisify(execFile);
let live: LiveSystem;

beforeAll(async () => {
  live = await startLiveSystem({ LIVE_WINDOW_S: '6', LIVE_ENDED_RETENTION_S: '3' });
});
afterAll(() => live?.close());

/** Seconds of media that ffmpeg demuxes, of one kind of track. */
async function decodedS(url: string, kind: 'v' | 'a'): Promise<number> {
  const { stdout } = await run(
    'ffprobe',
    // prettier-ignore
    ['-v', 'error', '-select_streams', `${kind}:0`, '-show_entries', 'packet=pts_time,duration_time', '-of', 'csv=p=0', url],
    { timeout: 60_000, maxBuffer: 16 * 1024 * 1024 },
  );
  const packets = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(',').map(Number));
  const starts = packets.map(([pts = 0]) => pts);
  const [last] = packets.toSorted(([a = 0], [b = 0]) => b - a);
  return Math.max(...starts) - Math.min(...starts) + (last?.[1] ?? 0);
}

async function text(url: string): Promise<string> {
  const response = await fetch(url);
  const body = await response.text();
  if (response.status !== 200) throw new Error(`${url} was answered ${response.status}: ${body}`);
  return body;
}

const listedS = (playlist: string): number =>
  [...playlist.matchAll(/#EXTINF:([\d.]+)/g)].reduce((sum, [, duration]) => sum + Number(duration), 0);

describe('a broadcast', () => {
  it('can be rewound while it runs, and is a VOD of the right length when it is over', async () => {
    const stream = await live.api.create({
      ladder: { rungs: [{ height: 120, bitrateBps: 200_000 }] },
      reconnectWindow: 0,
    });
    const { publisher, playlists } = await live.goLive(stream, {
      width: 320,
      height: 180,
      videoBitrate: '300k',
    });
    const [video = ''] = playlists;
    const dvr = await waitFor(
      'a DVR window longer than the live one',
      async () => {
        const now = await text(video.replace('index.m3u8', 'dvr.m3u8'));
        return listedS(now) >= 18 && now;
      },
      { deadlineMs: 60_000, intervalMs: 500 },
    );
    expect(strictParserComplaint(dvr)).toBeUndefined();
    expect(listedS(await text(video))).toBeLessThan(16);
    await publisher.kill();

    const vod = await waitFor(
      'the VOD',
      async () => {
        const now = await text(video);
        return now.includes('#EXT-X-PLAYLIST-TYPE:VOD') && now;
      },
      { deadlineMs: 30_000, intervalMs: 500 },
    );
    expect(strictParserComplaint(vod)).toBeUndefined();
    expect(vod).not.toContain('EXT-X-GAP');
    const lengthS = listedS(vod);
    expect(lengthS).toBeGreaterThan(18);
    for (const kind of ['v', 'a'] as const)
      expect(Math.abs((await decodedS(stream.playlistUrl, kind)) - lengthS)).toBeLessThan(0.5);
  });
});
