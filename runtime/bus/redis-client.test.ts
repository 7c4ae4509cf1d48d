import { describe, expect, it } from 'vitest';
import { RedisUrlError, parseRedisUrl } from '#runtime/bus/redis-client.ts';

describe('parseRedisUrl', () => {
  it.each([
    ['redis://127.0.0.1:6379', { kind: 'single', url: 'redis://127.0.0.1:6379' }],
    ['rediss://user:pass@redis.example/2', { kind: 'single', url: 'rediss://user:pass@redis.example/2' }],
    [
      'redis+cluster://a:7000,b,[::1]:7002',
      {
        kind: 'cluster',
        nodes: [
          { host: 'a', port: 7000 },
          { host: 'b', port: 6379 },
          { host: '[::1]', port: 7002 },
        ],
        username: undefined,
        password: undefined,
        tls: false,
      },
    ],
    [
      'rediss+cluster://ops:p%40ss@a:7000',
      {
        kind: 'cluster',
        nodes: [{ host: 'a', port: 7000 }],
        username: 'ops',
        password: 'p@ss',
        tls: true,
      },
    ],
  ])('reads %s', (url, place) => {
    expect(parseRedisUrl(url)).toEqual(place);
  });

  it.each([
    '',
    'http://a',
    'redis://',
    'redis+cluster://',
    'redis+cluster://a:x',
    'redis+cluster://:secret@a,,b',
  ])('refuses %j without repeating it', (url) => {
    expect(() => parseRedisUrl(url)).toThrow(RedisUrlError);
    expect(() => parseRedisUrl(url)).not.toThrow(/secret/);
  });
});
