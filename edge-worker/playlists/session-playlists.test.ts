import { describe, expect, it } from 'vitest';
import { flavourCdn } from '#edge-worker/playlists/flavour-cdn.ts';
import { SessionPlaylists, type SessionRequest } from '#edge-worker/playlists/session-playlists.ts';
import { bakedSnapshot } from '#edge-worker/settings.ts';
import { viewerPicture } from '#edge-worker/snapshot/viewer-picture.ts';
import { readMultivariantLadder } from '#protocol/hls/multivariant-ladder.ts';
import { prepareSnapshot, type SteeringPicture } from '#protocol/steering/pathway-priority.ts';
import {
  importTokenMac,
  signSessionTokenAsync,
  verifySessionTokenAsync,
} from '#protocol/steering/session-token.ts';
import type { SnapshotCdn } from '#protocol/steering/steering-snapshot.ts';

const KEY = { id: 3, secret: new Uint8Array(32).fill(5) };
const NOW_S = 1_800_000_000;
const TTL_S = 25;
const LADDER = readMultivariantLadder(
  '#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="avc1.64001F"\n720p/index.m3u8\n',
);
const CDNS = [
  { name: 'north', baseUrl: 'https://north.example', weight: 50 },
  { name: 'south', baseUrl: 'https://south.example', weight: 30 },
  { name: 'west', baseUrl: 'https://west.example', weight: 20 },
];
const picture = (changes: Partial<Record<string, Partial<SnapshotCdn>>> = {}): SteeringPicture => {
  const baked = bakedSnapshot(CDNS);
  const cdns = baked.cdns.map((cdn) => ({ ...cdn, ...changes[cdn.name] }));
  return prepareSnapshot({ ...baked, generation: 4, cdns });
};
const playlists = new SessionPlaylists({ tokenKeys: [KEY], steeringTtlS: TTL_S });
const request = (changes: Partial<SessionRequest> = {}): SessionRequest => ({
  streamId: 'demo',
  prefix: '',
  query: new URLSearchParams(),
  userAgent: 'Mozilla/5.0 (X11)',
  place: { country: undefined, asn: undefined },
  session: '',
  steeringBase: 'https://steer.example',
  nowS: NOW_S,
  ...changes,
});
const token = async (issuedAtS: number, ttlS: number, streamId = 'demo'): Promise<string> =>
  signSessionTokenAsync(
    {
      sessionId: 'A'.repeat(20),
      issuedAtS,
      expiresAtS: issuedAtS + 86_400,
      generation: 4,
      ttlS,
      rhythm: ttlS === 0 ? 'none' : 'steady',
      assignedTag: 0,
    },
    streamId,
    await importTokenMac(KEY),
  );
const kindOf = async (changes: Partial<SessionRequest>): Promise<string> =>
  (await playlists.write(LADDER, picture(), request(changes))).kind;

describe('the multivariant playlist of a session', () => {
  it('carries a token that steering can read: new, of this generation, without an answer yet', async () => {
    const { text } = await playlists.write(LADDER, picture(), request());
    const [, session] = /session=([A-Za-z0-9_-]+)"/.exec(text) ?? [];
    expect(await verifySessionTokenAsync(session, 'demo', NOW_S, [await importTokenMac(KEY)])).toMatchObject({
      valid: true,
      claims: { issuedAtS: NOW_S, generation: 4, ttlS: 0, rhythm: 'none', assignedTag: 0 },
    });
  });

  it('lists the CDN to begin with first, and those out of use last', async () => {
    const { text } = await playlists.write(
      LADDER,
      picture({ south: { health: 0 }, west: { weight: 0 } }),
      request(),
    );
    const hosts = text.match(/^https:\/\/\w+/gm);
    expect(hosts).toEqual(['https://north', 'https://west', 'https://south']);
    expect(text).toContain(',PATHWAY-ID="north"\n#EXT-X-STREAM-INF');
  });

  it('has no session without a key, and no steering without a CDN', async () => {
    const keyless = new SessionPlaylists({ tokenKeys: [], steeringTtlS: TTL_S });
    const { text } = await keyless.write(LADDER, picture(), request());
    expect(text).toContain('SERVER-URI="https://steer.example/steering/v1/demo",');
    const plain = await playlists.write(LADDER, prepareSnapshot(bakedSnapshot([])), request());
    expect(plain).toMatchObject({ kind: 'plain' });
    expect(plain.text).toMatch(/\n720p\/index\.m3u8\n/);
  });

  it.each([
    ['steered', 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15'],
    ['steered', 'AppleCoreMedia/1.0.0.22A100 (iPhone; U; CPU OS 18_0 like Mac OS X; en_us)'],
    ['steered', 'app/1.0 (Linux;Android 15) AndroidXMedia3/1.11.0'],
    ['single', 'app/1.0 (Linux;Android 15) AndroidXMedia3/1.8.0'],
    ['single', 'app/1.0 (Linux;Android 11) ExoPlayerLib/2.19.1'],
    ['single', 'Lavf/59.27.100'],
    ['single', 'Mozilla/5.0 (SMART-TV) Roku/DVP-14'],
    ['single', null],
  ])('is %s for %s', async (kind, userAgent) => {
    expect(await kindOf({ userAgent })).toBe(kind);
  });

  it('lists flavours as redundant variants for browsers, and one for players that open all they see', async () => {
    const query = new URLSearchParams('steering=0');
    const textOf = async (userAgent: string): Promise<string> =>
      (await playlists.write(LADDER, picture(), request({ query, userAgent }))).text;
    const redundant = await textOf('Mozilla/5.0 (X11)');
    expect(redundant.match(/^via\/\w+/gm)?.toSorted((a, b) => (a < b ? -1 : 1))).toEqual([
      'via/north',
      'via/south',
      'via/west',
    ]);
    expect(redundant).not.toMatch(/PATHWAY|STEERING/);
    expect((await textOf('Lavf/59')).match(/^via\/\w+/gm)).toHaveLength(1);
  });

  it('follows the viewer’s wish against everything else', async () => {
    expect(await kindOf({ query: new URLSearchParams('steering=0') })).toBe('single');
    expect(await kindOf({ query: new URLSearchParams('steering=1'), userAgent: 'Lavf/59' })).toBe('steered');
  });

  it.each([
    ['has not been answered for two TTLs of the settings', 'single', -2 * TTL_S - 1, 0],
    ['came with the playlist a moment ago', 'steered', -2 * TTL_S, 0],
    ['was answered two of its own TTLs ago', 'single', -21, 10],
    ['was answered lately', 'steered', -20, 10],
  ])('of a session whose token %s is %s', async (_, kind, issued, ttlS) => {
    const session = await token(NOW_S + issued, ttlS);
    expect(await kindOf({ query: new URLSearchParams({ session }) })).toBe(kind);
  });

  it('keeps a session on its CDN, and takes a token of another stream for none', async () => {
    const start = async (session: string): Promise<string | undefined> => {
      const { text } = await playlists.write(
        LADDER,
        picture(),
        request({ query: new URLSearchParams({ session }) }),
      );
      return /,PATHWAY-ID="(\w+)"/.exec(text)?.[1];
    };
    const own = await token(NOW_S, 0);
    expect(new Set(await Promise.all(Array.from({ length: 20 }, () => start(own)))).size).toBe(1);
    const foreign = await token(NOW_S, 0, 'other');
    expect(new Set(await Promise.all(Array.from({ length: 60 }, () => start(foreign)))).size).toBeGreaterThan(
      1,
    );
  });

  it('does not send viewers from elsewhere to CDNs of this machine', async () => {
    const mixed = picture({
      north: { baseUrl: 'http://127.0.0.1:8101' },
      west: { baseUrl: 'http://localhost:1' },
    });
    const { text } = await playlists.write(LADDER, viewerPicture(mixed, 'live.example'), request());
    expect(text.match(/^https?:\/\/[^/]+/gm)).toEqual(['https://south.example']);
    expect(viewerPicture(mixed, '127.0.0.1')).toBe(mixed);
  });
});

describe('the CDN of a flavour', () => {
  const streams = Array.from({ length: 2_000 }, (_, index) => `stream-${index}`);
  const cdnOf = (of: SteeringPicture, stream: string, flavour: string): string =>
    flavourCdn(of, stream, '720p', flavour)?.name ?? '';

  it('is the one that it is named after, as long as that is well and in use', () => {
    for (const { name } of CDNS) expect(cdnOf(picture(), 'demo', name)).toBe(name);
    expect(cdnOf(picture({ north: { health: 0.6 } }), 'demo', 'north')).toBe('north');
  });

  it.each([
    ['dead', { health: 0 }],
    ['barely alive', { health: 0.4 }],
    ['drained', { weight: 0 }],
    ['disabled', { enabled: false }],
  ] as const)('is another when that is %s, by weight and the same for every viewer', (_, change) => {
    const broken = picture({ north: change });
    const homes = streams.map((stream) => cdnOf(broken, stream, 'north'));
    expect(streams.map((stream) => cdnOf(broken, stream, 'north'))).toEqual(homes);
    const south = homes.filter((name) => name === 'south').length;
    expect(homes.filter((name) => name === 'north')).toEqual([]);
    expect(south / homes.length).toBeGreaterThan(0.55);
    expect(south / homes.length).toBeLessThan(0.65);
    for (const stream of streams.slice(0, 100)) expect(cdnOf(broken, stream, 'west')).toBe('west');
  });

  it('is another for one stream only when the CDN fails for that stream', () => {
    const { snapshot } = picture();
    const partly = prepareSnapshot({ ...snapshot, streams: { demo: { north: 0 } } });
    expect(cdnOf(partly, 'demo', 'north')).not.toBe('north');
    expect(cdnOf(partly, 'other', 'north')).toBe('north');
  });

  it('is some CDN when its own is unknown or alone, and none when there is none', () => {
    expect(CDNS.map(({ name }) => name)).toContain(cdnOf(picture(), 'demo', 'gone'));
    const alone = prepareSnapshot(bakedSnapshot(CDNS.slice(0, 1)));
    expect(cdnOf(alone, 'demo', 'north')).toBe('north');
    expect(flavourCdn(prepareSnapshot(bakedSnapshot([])), 'demo', '720p', 'north')).toBeUndefined();
  });
});
