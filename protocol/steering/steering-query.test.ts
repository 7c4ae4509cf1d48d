import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseSteeringQuery } from '#protocol/steering/steering-query.ts';

const at = (id: string, throughputBps?: number): unknown => ({ id, throughputBps });

describe('§6 Steering request parameters', () => {
  it.each([
    [
      'hls.js, Shaka, video.js: unquoted',
      '_HLS_pathway=cdn-a&_HLS_throughput=5120000',
      [at('cdn-a', 5120000)],
    ],
    ['the spec: quoted', '_HLS_pathway=%22cdn-a%22&_HLS_throughput=5120000', [at('cdn-a', 5120000)]],
    ['quoted and not encoded', '_HLS_pathway="cdn-a"', [at('cdn-a')]],
    [
      'dash.js: a quoted list',
      '_DASH_pathway=%22a,b%22&_DASH_throughput=1000,2000',
      [at('a', 1000), at('b', 2000)],
    ],
    ['a list with encoded commas', '_DASH_pathway=%22a%2Cb%22', [at('a'), at('b')]],
    ['an unknown rate is empty', '_DASH_pathway=a,b&_DASH_throughput=,2000', [at('a'), at('b', 2000)]],
    [
      'dash.js: unknown rates left out, so none is believed',
      '_DASH_pathway=a,b&_DASH_throughput=2000',
      [at('a'), at('b')],
    ],
    ['hls.js above 2 Gbit/s: negative', '_HLS_pathway=a&_HLS_throughput=-1294967296', [at('a')]],
    ['video.js: a fraction', '_HLS_pathway=a&_HLS_throughput=1234567.89', [at('a', 1234568)]],
    ['nonsense as a rate', '_HLS_pathway=a&_HLS_throughput=NaN', [at('a')]],
    ['an infinite rate', '_HLS_pathway=a&_HLS_throughput=1e309', [at('a')]],
    ['media3: appended twice, the last counts', '_HLS_pathway=a&_HLS_pathway=b', [at('b')]],
    ['a pathway listed twice', '_DASH_pathway=a,a', [at('a')]],
    ['characters no pathway has', '_HLS_pathway=a%0d%0ab', []],
    ['broken percent encoding', '_HLS_pathway=%E0%A4%A', []],
    ['Shaka, first request: nothing', '', []],
  ])('%s', (_name, query, pathways) => {
    expect(parseSteeringQuery(query).pathways).toEqual(pathways);
  });

  it('takes the first session, so that nothing appended replaces it', () => {
    expect(parseSteeringQuery('session=abc&_HLS_pathway=a&session=def').session).toBe('abc');
  });

  it('never throws, and reports only pathways that could exist', () => {
    const part = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom(
        '_HLS_pathway=',
        '_DASH_pathway=',
        '_HLS_throughput=',
        '&',
        '%22',
        '%',
        ',',
        'session=',
      ),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 60 }), (parts) => {
        const { pathways } = parseSteeringQuery(parts.join(''));
        expect(pathways.length).toBeLessThanOrEqual(16);
        expect(pathways.every(({ id }) => /^[A-Za-z0-9._-]{1,64}$/.test(id))).toBe(true);
        expect(pathways.every(({ throughputBps: t }) => t === undefined || (t > 0 && t <= 1e11))).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
