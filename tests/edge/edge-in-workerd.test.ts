import * as HLS from 'hls-parser';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { nextPart, readMediaPlaylist } from '#protocol/hls/read-media-playlist.ts';
import { startEdgeInWorkerd, type EdgeInWorkerd } from '#tests/support/edge-in-workerd.ts';
import { snapshotCdn, startStubSteering, type StubSteering } from '#tests/support/edge-under-test.ts';
import { startLiveOrigin, type LiveOrigin } from '#tests/support/live-origin.ts';
import { startStubServer, type StubServer } from '#tests/support/stub-server.ts';
import { waitFor } from '#tests/support/wait-for.ts';

HLS.setOptions({ strictMode: true });

const BROWSER = { 'user-agent': 'Mozilla/5.0 (X11; Linux x64) Chrome/140' };
const WAITERS = 100;
const RENDITION = /^(?!#)(.*)\/index\.m3u8$/m;

describe('the Worker in workerd', () => {
  let origin: LiveOrigin;
  /** Counts what reaches the origin. */
  let counting: StubServer;
  let steering: StubSteering;
  let edge: EdgeInWorkerd;
  let rendition: string;

  const text = async (url: string, init: RequestInit = { headers: BROWSER }): Promise<string> => {
    const response = await fetch(url, init);
    if (response.status !== 200) throw new Error(`${url}: ${response.status} ${await response.text()}`);
    return response.text();
  };
  /** A part that no playlist lists yet, as the query of a reload. */
  const ahead = async (): Promise<string> => {
    const playlist = await text(`${origin.url}/live/demo/${rendition}/index.m3u8`);
    const { msn, part } = nextPart(readMediaPlaylist(playlist));
    return part < 4 ? `_HLS_msn=${msn}&_HLS_part=${part + 1}` : `_HLS_msn=${msn + 1}&_HLS_part=1`;
  };
  const asked = (part: string): readonly string[] => counting.requests.filter((url) => url.includes(part));

  beforeAll(async () => {
    origin = await startLiveOrigin();
    rendition = RENDITION.exec(await text(`${origin.url}/live/demo/master.m3u8`))?.[1] ?? '';
    counting = await startStubServer((request, response) => {
      fetch(origin.url + (request.url ?? '')).then(
        async (answer) => {
          response.writeHead(answer.status, {
            'content-type': answer.headers.get('content-type') ?? '',
            'cache-control': answer.headers.get('cache-control') ?? '',
            etag: answer.headers.get('etag') ?? '',
          });
          response.end(await answer.bytes());
        },
        () => response.destroy(),
      );
    });
    steering = await startStubSteering([
      snapshotCdn('north', 'https://north.example'),
      snapshotCdn('south', 'https://south.example'),
    ]);
  });
  afterAll(async () => {
    await steering?.close();
    await counting?.close();
    await origin?.close();
  });
  beforeEach(async () => {
    edge = await startEdgeInWorkerd({ ORIGIN_URLS: counting.url, EDGE_STEERING_URLS: steering.url });
  });
  afterEach(async () => {
    await edge?.close();
  });

  it('writes the playlists of sessions that steer and of those that do not', async () => {
    const steered = await text(`${edge.url}/live/demo/master.m3u8`);
    const hosts = (HLS.parse(steered) as HLS.types.MasterPlaylist).variants.map(
      ({ uri }) => new URL(uri).host,
    );
    expect(new Set(hosts)).toEqual(new Set(['north.example', 'south.example']));
    expect(steered).toMatch(/SERVER-URI="[^"]+\/steering\/v1\/demo\?session=[A-Za-z0-9_-]{91}",PATHWAY-ID="/);
    const single = await text(`${edge.url}/live/demo/master.m3u8`, { headers: { 'user-agent': 'Lavf/59' } });
    const variant = (HLS.parse(single) as HLS.types.MasterPlaylist).variants[0]?.uri ?? '';
    const playlist = await text(`${edge.url}/live/demo/${variant}?${await ahead()}`);
    HLS.parse(playlist);
    expect(readMediaPlaylist(playlist).parts.at(-1)?.uri).toMatch(
      /^https:\/\/(?:north|south)\.example\/live\/demo\//,
    );
  });

  it(`asks the origin once for ${WAITERS} waiters of a held reload, and answers all though the first leaves`, async () => {
    await text(`${edge.url}/live/demo/${rendition}/index.m3u8`);
    const query = await ahead();
    const url = `${edge.url}/live/demo/${rendition}/index.m3u8?${query}`;
    const leaving = new AbortController();
    const first = fetch(url, { signal: leaving.signal }).then(
      () => 'answered',
      () => 'left',
    );
    await waitFor('the first to be held', () => asked(query).length === 1);
    const others = Array.from({ length: WAITERS }, (_, viewer) => text(`${url}&CMCD=sid%3D${viewer}`));
    leaving.abort();
    const texts = await Promise.all(others);
    expect(await first).toBe('left');
    expect(new Set(texts).size).toBe(1);
    expect(asked(query)).toHaveLength(1);
  });

  it('shares a hinted part, keeps it, and cuts ranges from it', async () => {
    const playlist = readMediaPlaylist(await text(`${edge.url}/live/demo/${rendition}/index.m3u8`));
    const name = playlist.preloadHint?.uri ?? '';
    const url = `${edge.url}/live/demo/${rendition}/${name}`;
    const bodies = await Promise.all(Array.from({ length: 20 }, async () => (await fetch(url)).bytes()));
    for (const body of bodies) expect(body).toEqual(bodies[0]);
    const range = await fetch(url, { headers: { range: 'bytes=0-99' } });
    expect([range.status, (await range.bytes()).length]).toEqual([206, 100]);
    expect(Number(range.headers.get('age'))).toBeGreaterThanOrEqual(0);
    expect(asked(`/${name}`)).toHaveLength(1);
  });

  it('asks the next origin when one never answers, and answers 404 when none does', async () => {
    const silent = await startStubServer(() => undefined);
    const both = await startEdgeInWorkerd({
      ORIGIN_URLS: `${silent.url},${origin.url}`,
      EDGE_STEERING_URLS: silent.url,
      EDGE_DEFAULT_CDNS: 'baked=https://baked.example',
      EDGE_FIRST_BYTE_MARGIN_MS: '300',
    });
    const alone = await startEdgeInWorkerd({
      ORIGIN_URLS: silent.url,
      EDGE_STEERING_URLS: silent.url,
      EDGE_FIRST_BYTE_MARGIN_MS: '300',
    });
    try {
      for (let reload = 0; reload < 3; reload++) {
        const query = await ahead();
        HLS.parse(await text(`${both.url}/live/demo/${rendition}/index.m3u8?${query}`));
      }
      expect(await text(`${both.url}/live/demo/master.m3u8`)).toContain('https://baked.example/live/demo/');
      const answers = await Promise.all(
        Array.from({ length: 10 }, () => fetch(`${alone.url}/live/demo/${rendition}/1.m4s`)),
      );
      for (const answer of answers) expect(answer.status).toBe(404);
    } finally {
      await both.close();
      await alone.close();
      await silent.close();
    }
  });

  it('answers 502 for what is no playlist, and keeps nothing of it', async () => {
    let body = '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttps://evil.example/1.m4s\n';
    const spoilt = await startStubServer((_, response) => {
      response.writeHead(200, { 'cache-control': 'public, max-age=60' }).end(body);
    });
    const own = await startEdgeInWorkerd({ ORIGIN_URLS: spoilt.url, EDGE_STEERING_URLS: steering.url });
    try {
      const url = `${own.url}/live/demo/${rendition}/index.m3u8?_HLS_msn=1&_HLS_part=0`;
      for (const hostile of [body, `#EXTM3U\n#${'x'.repeat(2_000_000)}\n`, body.slice(0, 30), '\u0000', '']) {
        body = hostile;
        expect((await fetch(url)).status).toBe(502);
      }
      body = await text(`${origin.url}/live/demo/${rendition}/index.m3u8`);
      expect(await text(url)).toBe(body);
    } finally {
      await own.close();
      await spoilt.close();
    }
  });
});
