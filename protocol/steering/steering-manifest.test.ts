import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  SteeringManifestError,
  checkSteeringManifest,
  writeSteeringManifest,
  type SteeringManifest,
} from '#protocol/steering/steering-manifest.ts';

const good: SteeringManifest = {
  VERSION: 1,
  TTL: 25,
  'RELOAD-URI': 'https://steering.example/steering/v1/live?session=abc_-',
  'PATHWAY-PRIORITY': ['cdn-a', 'cdn-b'],
};

describe('§4 Steering manifest', () => {
  it('is written as JSON that says the same', () => {
    const id = fc.stringMatching(/^[A-Za-z0-9._-]{1,64}$/);
    fc.assert(
      fc.property(fc.uniqueArray(id, { minLength: 1 }), fc.integer({ min: 5, max: 3_600 }), (ids, ttl) => {
        const manifest = { ...good, TTL: ttl, 'PATHWAY-PRIORITY': ids };
        const text = writeSteeringManifest(manifest);
        expect(JSON.parse(text)).toEqual(manifest);
        expect(checkSteeringManifest(JSON.parse(text), { https: true })).toEqual([]);
      }),
    );
  });

  it.each<[string, Partial<Record<keyof SteeringManifest, unknown>>]>([
    ['TTL missing: hls.js loops', { TTL: undefined }],
    ['TTL 0: hls.js loops', { TTL: 0 }],
    ['TTL not whole', { TTL: 7.5 }],
    ['TTL beyond the timer: hls.js loops', { TTL: 2_147_484 }],
    ['TTL as text', { TTL: '30' }],
    ['a relative RELOAD-URI: Shaka throws', { 'RELOAD-URI': '/steering/v1/live' }],
    ['a malformed RELOAD-URI: hls.js gives up', { 'RELOAD-URI': 'https://' }],
    ['~ in the query: video.js encodes it again', { 'RELOAD-URI': 'https://a.example/s?session=~' }],
    ['an encoded character in the query', { 'RELOAD-URI': 'https://a.example/s?session=%2F' }],
    [
      'a pathway in the query: media3 appends another',
      { 'RELOAD-URI': 'https://a.example/s?_HLS_pathway=a' },
    ],
    ['a throughput in the query', { 'RELOAD-URI': 'https://a.example/s?a=b&_DASH_throughput=1' }],
    ['credentials in the URI', { 'RELOAD-URI': 'https://user:pass@a.example/s' }],
    ['1 KB and more', { 'RELOAD-URI': `https://a.example/s?session=${'a'.repeat(1_000)}` }],
    ['no pathway', { 'PATHWAY-PRIORITY': [] }],
    ['a pathway twice', { 'PATHWAY-PRIORITY': ['a', 'b', 'a'] }],
    ['a pathway that cannot be', { 'PATHWAY-PRIORITY': ['a"b'] }],
  ])('refuses %s', (_name, change) => {
    const bad = { ...good, ...change } as SteeringManifest;
    expect(() => writeSteeringManifest(bad)).toThrow(SteeringManifestError);
    expect(checkSteeringManifest(bad)).not.toEqual([]);
  });

  it.each([
    ['VERSION as text', { ...good, VERSION: '1' }],
    ['VERSION 2', { ...good, VERSION: 2 }],
    ['keys that are not ours', { ...good, 'PATHWAY-CLONES': [] }],
    ['no object', null],
    ['a list', [good]],
  ])('finds fault with %s', (_name, value) => {
    expect(checkSteeringManifest(value)).not.toEqual([]);
  });

  it.each([
    ['a pathway the playlist lacks', { declared: ['cdn-a'] }, 1],
    ['a dead pathway', { live: ['cdn-a'], dead: ['cdn-b'] }, 1],
    ['nothing, when dead is all there is', { live: [], dead: ['cdn-a', 'cdn-b'] }, 0],
    ['nothing, when all is well', { declared: ['cdn-a', 'cdn-b', 'x'], live: ['cdn-a', 'cdn-b'] }, 0],
  ])('against its session, finds %s', (_name, context, count) => {
    expect(checkSteeringManifest(good, context)).toHaveLength(count);
  });

  it('misses a second entry while two are live, and https where it must be', () => {
    const one = { ...good, 'PATHWAY-PRIORITY': ['cdn-a'], 'RELOAD-URI': 'http://a.example/s' };
    expect(checkSteeringManifest(one, { live: ['cdn-a', 'cdn-b'], https: true })).toHaveLength(2);
  });
});
