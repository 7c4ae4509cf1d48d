import { describe, expect, it } from 'vitest';
import { acceptsGzip, matchesEtag, readRange } from '#origin/http/byte-range.ts';

describe('RFC 9110 §14.2 Range', () => {
  it.each([
    [undefined, 'whole'],
    ['bytes=0-0', { first: 0, last: 0 }],
    ['bytes=0-99', { first: 0, last: 99 }],
    ['bytes=10-1000', { first: 10, last: 99 }],
    ['bytes=10-', { first: 10, last: 99 }],
    ['bytes=0-9007199254740991', { first: 0, last: 99 }],
    ['bytes=-10', { first: 90, last: 99 }],
    ['bytes=-1000', { first: 0, last: 99 }],
    ['BYTES=1-2', { first: 1, last: 2 }],
    ['bytes=100-', 'unsatisfiable'],
    ['bytes=100-200', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=20-10', 'whole'],
    ['bytes=0-1,5-6', 'whole'],
    ['bytes=a-b', 'whole'],
    ['bytes=-', 'whole'],
    ['bytes= 0-1', 'whole'],
    ['lines=0-1', 'whole'],
    ['', 'whole'],
  ])('%j of 100 bytes', (header, range) => {
    expect(readRange(header, 100)).toEqual(range);
  });

  it('has no range in nothing', () => {
    expect(readRange('bytes=0-', 0)).toBe('unsatisfiable');
  });
});

describe('RFC 9110 §13.1.2 If-None-Match', () => {
  it.each([
    ['"a"', true],
    ['W/"a"', true],
    ['"b", "a"', true],
    ['*', true],
    ['"b"', false],
    ['a', false],
    [undefined, false],
  ])('%j against "a"', (header, matches) => {
    expect(matchesEtag(header, '"a"')).toBe(matches);
  });
});

describe('RFC 9110 §12.5.3 Accept-Encoding', () => {
  it.each([
    ['gzip', true],
    ['gzip, deflate, br', true],
    ['br;q=1.0, GZIP;q=0.5', true],
    ['x-gzip', true],
    ['gzip;q=0', false],
    ['gzip; q=0.000', false],
    ['br', false],
    ['*', false],
    ['', false],
    [undefined, false],
  ])('%j', (header, accepted) => {
    expect(acceptsGzip(header)).toBe(accepted);
  });
});
