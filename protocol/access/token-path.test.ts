import { expect, it } from 'vitest';
import { splitTokenPath, withToken } from '#protocol/access/token-path.ts';

it.each([
  ['/live/demo/master.m3u8', '', undefined, '/live/demo/master.m3u8'],
  ['/t/abc/live/demo/1.m4s', '/t/abc', 'abc', '/live/demo/1.m4s'],
  ['/t/abc', '/t/abc', 'abc', '/'],
  ['/t//live/x', '/t/', '', '/live/x'],
  ['/t/a/t/b/live/x', '/t/a', 'a', '/t/b/live/x'],
])('takes the token off %s', (pathname, prefix, token, path) => {
  expect(splitTokenPath(pathname)).toEqual({ prefix, token, path });
});

it('is put on again', () => {
  expect(splitTokenPath(withToken('1~k', '/live/x'))).toMatchObject({ token: '1~k', path: '/live/x' });
});
