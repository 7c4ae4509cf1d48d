import { describe, expect, it } from 'vitest';
import { canonicalPath, parsePlaybackPath } from '#edge-worker/http/playback-path.ts';
import { DeliveryDirectiveError } from '#protocol/hls/delivery-directives.ts';

const keyOf = (path: string, query = ''): string | undefined => {
  const parsed = parsePlaybackPath(path, query);
  return parsed === undefined ? undefined : canonicalPath(parsed.target);
};

describe('the key of a request', () => {
  it.each([
    ['', ''],
    ['CMCD=bl%3D1%2Csid%3D%22x%22', ''],
    ['_HLS_part=2&_HLS_msn=7', '?_HLS_msn=7&_HLS_part=2'],
    ['session=a&_HLS_msn=007&x=1', '?_HLS_msn=7'],
    ['_HLS_skip=YES&_HLS_part=0&_HLS_msn=7', '?_HLS_msn=7&_HLS_part=0&_HLS_skip=YES'],
    ['_HLS_skip=v2', '?_HLS_skip=v2'],
    ['_HLS_skip=maybe&_HLS_throughput=5', ''],
  ])('has of the query %j nothing but directives in one order', (query, kept) => {
    expect(keyOf('/live/demo/720p/index.m3u8', query)).toBe(`/live/demo/720p/index.m3u8${kept}`);
  });

  it('has no query for media and ladders, and nothing of a flavour', () => {
    expect(keyOf('/live/demo/720p/7.1.m4s', 'CMCD=x&_HLS_msn=1')).toBe('/live/demo/720p/7.1.m4s');
    expect(keyOf('/live/demo/master.m3u8', 'session=x')).toBe('/live/demo/master.m3u8');
    expect(keyOf('/live/demo/via/north/720p/index.m3u8')).toBe('/live/demo/720p/index.m3u8');
    expect(parsePlaybackPath('/live/demo/via/north/720p/index.m3u8', '')?.flavour).toBe('north');
    expect(parsePlaybackPath('/live/demo/via/index.m3u8', '')?.flavour).toBeUndefined();
  });

  it.each([
    '/live/demo',
    '/live/demo/720p',
    '/live/demo/720p/index.m3u8/x',
    '/live/demo/720p/01.m4s',
    '/live/demo/720p/../x/index.m3u8',
    '/live/de%2Fmo/master.m3u8',
    '/live/demo/via/no rth/720p/index.m3u8',
    '/live/demo/via/north/720p/x/index.m3u8',
    '/live//720p/index.m3u8',
    '/live/demo/720P/index.m3u8',
    'live/demo/master.m3u8',
  ])('is none for %s', (path) => {
    expect(keyOf(path)).toBeUndefined();
  });

  it('is refused for directives that no player sends', () => {
    for (const query of ['_HLS_part=1', '_HLS_msn=-1', '_HLS_msn=1&_HLS_msn=2'])
      expect(() => keyOf('/live/demo/720p/index.m3u8', query)).toThrow(DeliveryDirectiveError);
  });
});
