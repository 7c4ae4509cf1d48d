import { describe, expect, it } from 'vitest';
import { splitTarget } from '#origin/http/playback-target.ts';

describe('the target of a playback request', () => {
  it.each([
    ['/live/show/master.m3u8', ['show', undefined, 'master.m3u8', '']],
    ['/live/show/720p/index.m3u8', ['show', '720p', 'index.m3u8', '']],
    ['/live/show/720p/index.m3u8?_HLS_msn=1&x=/a/b', ['show', '720p', 'index.m3u8', '_HLS_msn=1&x=/a/b']],
    ['/live/show/720p/1.m4s?', ['show', '720p', '1.m4s', '']],
    ['http://origin.example:80/live/show/720p/1.m4s?a', ['show', '720p', '1.m4s', 'a']],
    ['/live/a%2fb/../c/d', ['a%2fb', '..', 'c/d', '']],
    ['/live//x', ['', undefined, 'x', '']],
  ])('%s', (url, [streamId, renditionId, file, query]) => {
    expect(splitTarget(url)).toMatchObject({ token: undefined, streamId, renditionId, file, query });
  });

  it.each(['/t/1~k~9/live/show/720p/1.m4s?a', 'http://origin/t/1~k~9/live/show/720p/1.m4s?a'])(
    'gives the token of %s apart',
    (url) => {
      expect(splitTarget(url)).toEqual({
        token: '1~k~9',
        path: '/live/show/720p/1.m4s',
        streamId: 'show',
        renditionId: '720p',
        file: '1.m4s',
        query: 'a',
      });
    },
  );

  it.each([
    '/',
    '/live',
    '/live/',
    '/live/show',
    '/live/show?/x',
    '/lives/a/b',
    '/t/live/a/b',
    '/t/x/t/y/live/a/b',
    '*',
    '',
    'origin:443',
    '/api/live/a/b',
  ])('%s is for somebody else', (url) => {
    expect(splitTarget(url)).toBeUndefined();
  });
});
