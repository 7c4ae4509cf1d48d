import { beforeEach, describe, expect, it } from 'vitest';
import { bakedSnapshot } from '#edge-worker/settings.ts';
import {
  LOOKUP_LIMIT_MS,
  SnapshotSource,
  type CurrentPicture,
} from '#edge-worker/snapshot/snapshot-source.ts';
import { edgeDeps, FakeOrigins, settle } from '#edge-worker/testing/fake-origins.ts';
import { FakeClock } from '#runtime/clock.ts';

const snapshot = (...names: string[]): string =>
  JSON.stringify({
    ...bakedSnapshot(names.map((name) => ({ name, baseUrl: `https://${name}.example/`, weight: 1 }))),
    generation: 7,
  });

describe('the steering snapshot', () => {
  let clock: FakeClock;
  let steering: FakeOrigins;
  let source: SnapshotSource;
  const waitUntil = (): void => undefined;
  const names = ({ picture, state }: CurrentPicture): string =>
    `${state}: ${picture.snapshot.cdns.map(({ name }) => name).join(' ')}`;
  const look = async (): Promise<string> => names(await source.current(waitUntil));

  beforeEach(() => {
    clock = new FakeClock();
    steering = new FakeOrigins(() => ({ body: snapshot('north'), headers: { etag: '"1"' } }));
    source = new SnapshotSource(edgeDeps(clock, steering), {
      steeringUrls: ['http://one.example', 'http://two.example'],
      baked: bakedSnapshot([{ name: 'baked', baseUrl: 'https://baked.example', weight: 1 }]),
    });
  });

  it('is there for the first viewer when steering answers at once', async () => {
    expect(await look()).toBe('live: north');
    expect(steering.requests).toEqual(['http://one.example/steering/v1/snapshot']);
  });

  it(`costs the first viewer ${LOOKUP_LIMIT_MS} ms when steering does not, and is the baked one`, async () => {
    steering.answer(() => 'hang');
    const waiting = look();
    await settle();
    clock.advance(LOOKUP_LIMIT_MS);
    expect(await waiting).toBe('baked: baked');
  });

  it('is renewed behind the viewers, one request a second at most', async () => {
    await look();
    for (let i = 0; i < 10; i++) await look();
    expect(steering.requests).toHaveLength(1);
    clock.advance(1_000);
    steering.answer(() => ({ body: snapshot('north', 'south') }));
    expect(await look()).toBe('live: north');
    await settle();
    expect(await look()).toBe('live: north south');
    expect(steering.requests).toHaveLength(2);
  });

  it.each([
    ['fails', 'fail'],
    ['answers 500', { status: 500, body: 'no' }],
    ['answers no snapshot', { body: '{"version":1}' }],
    ['answers no JSON', { body: '<html>' }],
    ['answers far too much', { body: ' '.repeat(2_000_000) }],
  ] as const)('stays as it was when steering %s, and the next server is asked', async (_, answer) => {
    await look();
    steering.answer(() => answer);
    for (let second = 0; second < 10; second++) {
      clock.advance(1_000);
      await look();
      await settle();
    }
    expect(await look()).toBe('last_good: north');
    expect(new Set(steering.requests.slice(1).map((url) => new URL(url).host))).toEqual(
      new Set(['one.example', 'two.example']),
    );
    steering.answer(() => ({ body: snapshot('south') }));
    clock.advance(1_000);
    await look();
    await settle();
    expect(await look()).toBe('live: south');
  });

  it('is not waited for in vain when a renewal never ends', async () => {
    await look();
    steering.answer(() => 'hang');
    clock.advance(1_000);
    expect(await look()).toBe('live: north');
    clock.advance(2_000);
    await settle();
    steering.answer(() => ({ body: snapshot('south') }));
    clock.advance(4_000);
    await look();
    await settle();
    expect(await look()).toBe('live: south');
  });

  it('is what the place remembers for an isolate that begins while steering is silent', async () => {
    const kept = new Map<string, string>();
    const placeCache = {
      match: (key: string) => Promise.resolve(kept.has(key) ? new Response(kept.get(key)) : undefined),
      put: async (key: string, response: Response) => void kept.set(key, await response.text()),
    };
    const begin = (): void => {
      const deps = { ...edgeDeps(clock, steering), placeCache };
      source = new SnapshotSource(deps, { steeringUrls: ['http://one.example'], baked: bakedSnapshot([]) });
    };
    begin();
    expect(await look()).toBe('live: north');
    await settle();
    steering.answer(() => 'hang');
    begin();
    expect(await look()).toBe('last_good: north');
    for (const spoilt of ['<html>', '{}']) {
      kept.set([...kept.keys()][0] ?? '', spoilt);
      begin();
      const waiting = look();
      await settle();
      clock.advance(LOOKUP_LIMIT_MS);
      expect(await waiting).toBe('baked: ');
    }
  });

  it('leaves out CDNs whose URL could not go into a playlist', async () => {
    const hostile = JSON.parse(snapshot('north', 'south')) as { cdns: { baseUrl: string }[] };
    for (const url of ['https://x.example/"\n#EXT', 'javascript:alert(1)', 'https://']) {
      if (hostile.cdns[0] !== undefined) hostile.cdns[0].baseUrl = url;
      steering.answer(() => ({ body: JSON.stringify(hostile) }));
      clock.advance(1_000);
      await look();
      await settle();
      expect(await look()).toBe('live: south');
    }
  });
});
