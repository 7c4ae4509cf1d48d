import * as HLS from 'hls-parser';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkMediaPlaylist } from '#protocol/hls/media-uri-base.ts';
import { nextPart, readMediaPlaylist } from '#protocol/hls/read-media-playlist.ts';
import { checkRun } from '#tests/support/hls-rules.ts';
import {
  EDGE_TOKEN_KEYS,
  snapshotCdn,
  startEdge,
  startStubSteering,
  type StubSteering,
} from '#tests/support/edge-under-test.ts';
import { startFaultyCdn, type FaultyCdn } from '#tests/support/faulty-cdn.ts';
import { startLiveOrigin, type LiveOrigin } from '#tests/support/live-origin.ts';
import { recordStream } from '#tests/support/ll-hls-client.ts';
import { startSteeringNode, type SteeringNode } from '#tests/support/steering-node.ts';
import { startStubServer } from '#tests/support/stub-server.ts';
import { hasNoPostgres, startTestPostgres, type TestPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

HLS.setOptions({ strictMode: true });

const BROWSER = { 'user-agent': 'Mozilla/5.0 (X11; Linux x64) Chrome/140' };
const FFMPEG = { 'user-agent': 'Lavf/59.27.100' };
type Edge = Awaited<ReturnType<typeof startEdge>>;

const text = async (url: string, headers: Record<string, string> = BROWSER): Promise<string> => {
  const response = await fetch(url, { headers });
  if (response.status !== 200) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return response.text();
};

describe('an edge in Node before a real origin', () => {
  let origin: LiveOrigin;
  let steering: StubSteering;
  let edge: Edge;
  let live: string;
  const north = () => snapshotCdn('north', 'https://north.example');
  const south = () => snapshotCdn('south', 'https://south.example');

  beforeAll(async () => {
    origin = await startLiveOrigin();
    steering = await startStubSteering([north(), south()]);
    edge = await startEdge({ ORIGIN_URLS: origin.url, EDGE_STEERING_URLS: steering.url });
    live = `${edge.url}/live/${origin.streamId}`;
  });
  afterAll(async () => {
    await edge?.close();
    await steering?.close();
    await origin?.close();
  });

  it('gives a player that steers one pathway per CDN, and a token in front stays in the path', async () => {
    const response = await fetch(`${edge.url}/t/a.b-c/live/${origin.streamId}/master.m3u8`, {
      headers: BROWSER,
    });
    expect(response.headers.get('cache-control')).toBe('private, no-store');
    const master = await response.text();
    const playlist = HLS.parse(master) as HLS.types.MasterPlaylist;
    const hosts = new Set(playlist.variants.map(({ uri }) => new URL(uri).host));
    expect(hosts).toEqual(new Set(['north.example', 'south.example']));
    expect(
      playlist.variants.every(({ uri }) => new URL(uri).pathname.startsWith('/t/a.b-c/live/demo/')),
    ).toBe(true);
    expect(master).toMatch(/SERVER-URI="http:\/\/127[^"]+\/steering\/v1\/demo\?session=[A-Za-z0-9_-]{91}"/);
  });

  it('is a CDN itself: all that a player loads passes the rules of low latency', async () => {
    const empty = await startStubSteering([]);
    const plain = await startEdge({ ORIGIN_URLS: origin.url, EDGE_STEERING_URLS: empty.url });
    try {
      const recording = await recordStream(`${plain.url}/live/${origin.streamId}/master.m3u8`);
      await waitFor('some reloads', () => recording.renditions.every(({ answers }) => answers.length > 12), {
        deadlineMs: 20_000,
      });
      const run = await recording.stop();
      expect(checkRun(run).map(({ rule, where, message }) => `${rule} ${where}: ${message}`)).toEqual([]);
    } finally {
      await plain.close();
      await empty.close();
    }
  }, 40_000);

  it('gives a player that does not steer one CDN, and another at the next reload when it fails', async () => {
    const master = await text(`${live}/master.m3u8`, FFMPEG);
    expect(master).not.toMatch(/STEERING|PATHWAY-ID/);
    const variant = (HLS.parse(master) as HLS.types.MasterPlaylist).variants[0]?.uri ?? '';
    const [, flavour = ''] = /^via\/(\w+)\//.exec(variant) ?? [];
    const other = flavour === 'north' ? 'south' : 'north';
    const url = `${live}/${variant}`;
    const before = readMediaPlaylist(await text(url, FFMPEG));
    expect(before.parts[0]?.uri).toContain(`https://${flavour}.example/live/demo/`);
    expect(before.preloadHint?.uri).toContain(`https://${flavour}.example/live/demo/`);

    steering.cdns = [north(), south()].map((cdn) => (cdn.name === flavour ? { ...cdn, health: 0 } : cdn));
    try {
      const { msn, part } = await waitFor('another CDN', async () => {
        const reload = nextPart(readMediaPlaylist(await text(url, FFMPEG)));
        const moved = readMediaPlaylist(
          await text(`${url}?_HLS_msn=${reload.msn}&_HLS_part=${reload.part}`, FFMPEG),
        );
        if (!(moved.parts.at(-1)?.uri ?? '').includes(`https://${other}.example/`)) return undefined;
        expect(moved.parts.some((listed) => listed.msn === reload.msn && listed.part === reload.part)).toBe(
          true,
        );
        return reload;
      });
      const direct = readMediaPlaylist(
        await text(`${origin.url}${new URL(url).pathname.replace(`/via/${flavour}`, '')}`),
      );
      expect(direct.parts.some((listed) => listed.msn === msn && listed.part === part)).toBe(true);
      HLS.parse(await text(`${url}?_HLS_msn=${msn}&_HLS_part=${part}&_HLS_skip=YES`, FFMPEG));
    } finally {
      steering.cdns = [north(), south()];
    }
  });

  it('answers byte ranges, conditional requests, HEAD and preflights as a CDN does', async () => {
    const variant = `${live}/${/^(?!#)(.*)\/index\.m3u8$/m.exec(await text(`${origin.url}/live/demo/master.m3u8`))?.[1]}`;
    const playlist = checkMediaPlaylist(await text(`${variant}/index.m3u8`));
    const url = `${variant}/${playlist.read.segments.at(-1)?.uri}`;
    const whole = await fetch(url);
    const bytes = await whole.bytes();
    expect(whole.headers.get('age')).toBe('0');
    expect(whole.headers.get('access-control-expose-headers')).toMatch(/\bAge\b/);
    const range = await fetch(url, { headers: { range: 'bytes=10-19' } });
    expect([range.status, range.headers.get('content-range')]).toEqual([206, `bytes 10-19/${bytes.length}`]);
    expect(await range.bytes()).toEqual(bytes.subarray(10, 20));
    const etag = whole.headers.get('etag') ?? '';
    expect((await fetch(url, { headers: { 'if-none-match': etag } })).status).toBe(304);
    expect((await fetch(url, { headers: { range: `bytes=${bytes.length}-` } })).status).toBe(416);
    const head = await fetch(url, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length')]).toEqual([200, String(bytes.length)]);
    expect((await fetch(url, { method: 'OPTIONS' })).status).toBe(204);
    expect((await fetch(url, { method: 'DELETE' })).status).toBe(405);
    expect((await fetch(`${live}/nothing/index.m3u8`)).status).toBe(404);
    expect((await fetch(`${variant}/index.m3u8?_HLS_part=1`)).status).toBe(400);
    expect((await fetch(`${variant}/index.m3u8?_HLS_msn=99999999999`)).status).toBe(400);
  });

  it('asks the origin once for a held reload, whatever else 300 waiters have in their URLs', async () => {
    const counted = await startFaultyCdn(origin.url);
    const asked: string[] = [];
    const counting = await startStubServer((request, response) => {
      asked.push(request.url ?? '');
      void fetch(counted.url + (request.url ?? '')).then(async (answer) => {
        response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.bytes());
      });
    });
    const own = await startEdge({ ORIGIN_URLS: counting.url, EDGE_STEERING_URLS: steering.url });
    try {
      const rendition =
        /^(?!#)(.*)\/index\.m3u8$/m.exec(await text(`${origin.url}/live/demo/master.m3u8`))?.[1] ?? '';
      const { msn, part } = nextPart(
        readMediaPlaylist(await text(`${origin.url}/live/demo/${rendition}/index.m3u8`)),
      );
      const next = { msn: msn + (part > 3 ? 1 : 0), part: part > 3 ? 1 : part + 2 };
      const texts = await Promise.all(
        Array.from({ length: 300 }, (_, viewer) =>
          text(
            `${own.url}/t/viewer-${viewer}/live/demo/${rendition}/index.m3u8?CMCD=bl%3D${viewer}&_HLS_part=${next.part}&_HLS_msn=${next.msn}&session=${viewer}`,
          ),
        ),
      );
      expect(new Set(texts).size).toBe(1);
      expect(asked).toEqual([
        `/live/demo/${rendition}/index.m3u8?_HLS_msn=${next.msn}&_HLS_part=${next.part}`,
      ]);
    } finally {
      await own.close();
      await counting.close();
      await counted.close();
    }
  });
});

describe('an edge whose origin or steering fails', () => {
  let origin: LiveOrigin;
  let broken: FaultyCdn;
  let edge: Edge;
  let steering: StubSteering;
  beforeAll(async () => {
    origin = await startLiveOrigin();
    broken = await startFaultyCdn(origin.url);
    steering = await startStubSteering([]);
  });
  afterAll(async () => {
    await edge?.close();
    await steering?.close();
    await broken?.close();
    await origin?.close();
  });
  const restart = async (origins: string, env: Record<string, string> = {}): Promise<string> => {
    await edge?.close();
    edge = await startEdge({
      ORIGIN_URLS: origins,
      EDGE_STEERING_URLS: steering.url,
      EDGE_FIRST_BYTE_MARGIN_MS: '300',
      ...env,
    });
    return `${edge.url}/live/${origin.streamId}`;
  };
  const renditionOf = async (): Promise<string> =>
    /^(?!#)(.*)\/index\.m3u8$/m.exec(await text(`${origin.url}/live/demo/master.m3u8`))?.[1] ?? '';

  it.each([
    { kind: 'hang_reload' },
    { kind: 'status', status: 503 },
    { kind: 'body', text: '<html>' },
  ] as const)('asks the other origin when one does $kind', async (fault) => {
    broken.fault = fault;
    const live = await restart(`${broken.url},${origin.url}`);
    const rendition = await renditionOf();
    for (let reload = 0; reload < 3; reload++) {
      const { msn, part } = nextPart(
        readMediaPlaylist(await text(`${origin.url}/live/demo/${rendition}/index.m3u8`)),
      );
      const playlist = readMediaPlaylist(
        await text(`${live}/${rendition}/index.m3u8?_HLS_msn=${msn}&_HLS_part=${part}`),
      );
      expect(playlist.parts.some((listed) => listed.msn === msn && listed.part === part)).toBe(true);
    }
    broken.fault = { kind: 'none' };
  });

  it('answers 404 when the only origin is silent, and 502 when it answers nonsense', async () => {
    const silent = await startStubServer(() => undefined);
    const rendition = await renditionOf();
    const live = await restart(silent.url);
    const part = await fetch(`${live}/${rendition}/1.m4s`);
    expect([part.status, await part.json()]).toEqual([
      404,
      expect.objectContaining({ code: 'origin_silent' }),
    ]);
    expect((await fetch(`${live}/${rendition}/index.m3u8`)).status).toBe(404);
    await silent.close();

    broken.fault = {
      kind: 'body',
      text: '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttps://evil.example/1.m4s\n',
    };
    const spoilt = await restart(broken.url);
    for (let i = 0; i < 2; i++) expect((await fetch(`${spoilt}/${rendition}/index.m3u8`)).status).toBe(502);
    broken.fault = { kind: 'none' };
    expect((await fetch(`${spoilt}/${rendition}/index.m3u8`)).status).toBe(200);
  });

  it('gives the playlist as it is while the broadcaster is late but the origin speaks', async () => {
    const rendition = await renditionOf();
    const live = await restart(origin.url);
    const { msn, part } = nextPart(readMediaPlaylist(await text(`${live}/${rendition}/index.m3u8`)));
    origin.pause();
    try {
      const response = await fetch(`${live}/${rendition}/index.m3u8?_HLS_msn=${msn + 1}&_HLS_part=${part}`);
      expect([response.status, response.headers.get('cache-control')]).toEqual([200, 'no-cache']);
    } finally {
      origin.resume();
    }
  });

  it('goes on with the last CDNs it knew when steering is gone, and with the baked ones when it never was there', async () => {
    const own = await startStubSteering([snapshotCdn('known', 'https://known.example')]);
    const live = await restart(origin.url, {
      EDGE_STEERING_URLS: own.url,
      EDGE_DEFAULT_CDNS: 'baked=https://baked.example*2',
    });
    expect(await text(`${live}/master.m3u8`)).toContain('https://known.example/');
    await own.close();
    expect(await text(`${live}/master.m3u8`)).toContain('https://known.example/');

    const silent = await startStubServer(() => undefined);
    const cold = await restart(origin.url, {
      EDGE_STEERING_URLS: own.url,
      EDGE_DEFAULT_CDNS: 'baked=https://baked.example*2',
    });
    expect(await text(`${cold}/master.m3u8`)).toContain('https://baked.example/');
    expect(await (await fetch(`${edge.url}/readyz`)).json()).toEqual({ status: 'ready', snapshot: 'baked' });
    await silent.close();
  });
});

describe.skipIf(hasNoPostgres)('an edge and a real steering server', () => {
  let postgres: TestPostgres;
  let node: SteeringNode;
  let origin: LiveOrigin;
  let edge: Edge;
  beforeAll(async () => {
    postgres = await startTestPostgres();
    origin = await startLiveOrigin();
    node = await startSteeringNode({
      database: postgres.open(),
      env: { STEERING_TOKEN_KEYS: EDGE_TOKEN_KEYS },
    });
    for (const [name, weight] of [
      ['north', 50],
      ['south', 30],
      ['west', 20],
    ] as const)
      await node.call('POST', '/api/v1/cdns', {
        name,
        baseUrl: `https://${name}.example`,
        weight,
        reason: 'test',
      });
    edge = await startEdge({ ORIGIN_URLS: origin.url, EDGE_STEERING_URLS: node.steering.url });
  });
  afterAll(async () => {
    await edge?.close();
    await node?.close();
    await origin?.close();
    await postgres?.close();
  });

  it('agree on every session’s pathway from the first request', async () => {
    const firsts = new Map<string, number>();
    for (let session = 0; session < 100; session++) {
      const master = await text(`${edge.url}/live/demo/master.m3u8`);
      const [, uri = '', pathway = ''] = /SERVER-URI="([^"]+)",PATHWAY-ID="([^"]+)"/.exec(master) ?? [];
      const manifest = (await (await fetch(uri)).json()) as { 'PATHWAY-PRIORITY': string[] };
      expect(manifest['PATHWAY-PRIORITY'][0]).toBe(pathway);
      firsts.set(pathway, (firsts.get(pathway) ?? 0) + 1);
    }
    expect(firsts.size).toBe(3);
    const metrics = await text(`${node.steering.url}/metrics`);
    expect(metrics).toMatch(/steering_answers_total\{token="valid"[^}]*\} 100\b/);
  });

  it('move only the sessions of a CDN that ops drain', async () => {
    const token = /session=([A-Za-z0-9_-]+)/;
    const master = await text(`${edge.url}/live/demo/master.m3u8`);
    const session = token.exec(master)?.[1] ?? '';
    const pathwayOf = (playlist: string): string => /PATHWAY-ID="([^"]+)"/.exec(playlist)?.[1] ?? '';
    const first = pathwayOf(master);
    const again = (): Promise<string> => text(`${edge.url}/live/demo/master.m3u8?session=${session}`);
    expect(pathwayOf(await again())).toBe(first);
    const etag = (await node.call('GET', `/api/v1/cdns/${first}`)).headers.get('etag') ?? '';
    await node.call('PATCH', `/api/v1/cdns/${first}`, { weight: 0, reason: 'drain' }, { 'if-match': etag });
    await waitFor('another pathway', async () => pathwayOf(await again()) !== first);
  });
});
