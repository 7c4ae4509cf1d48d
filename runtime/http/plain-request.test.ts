import { describe, expect, it } from 'vitest';
import { readPlainRequest } from '#runtime/http/plain-request.ts';

const read = (text: string) => readPlainRequest(Buffer.from(text, 'latin1'));
const HOST = 'Host: x\r\n';

describe('a plain request', () => {
  it('is read with the headers that matter', () => {
    expect(
      read(
        `GET /live/a/720p/index.m3u8?_HLS_msn=1&_HLS_part=2 HTTP/1.1\r\n${HOST}User-Agent: x (y; z)\r\n` +
          'ACCEPT-ENCODING:gzip, deflate, br \r\nif-none-match: "a", W/"b"\r\nRange: bytes=0-\r\nif-range: "a"\r\n' +
          'Authorization: Bearer t\r\nConnection: Keep-Alive\r\n\r\n',
      ),
    ).toEqual({
      method: 'GET',
      url: '/live/a/720p/index.m3u8?_HLS_msn=1&_HLS_part=2',
      acceptEncoding: 'gzip, deflate, br',
      ifNoneMatch: '"a", W/"b"',
      range: 'bytes=0-',
      ifRange: '"a"',
      authorization: 'Bearer t',
    });
    expect(read(`HEAD / HTTP/1.1\r\n${HOST}\r\n`)).toMatchObject({ method: 'HEAD', url: '/' });
  });

  it.each([
    ['half of one', 'GET / HTTP/1.1\r\nHos'],
    ['one without its empty line', `GET / HTTP/1.1\r\n${HOST}`],
    ['two at once', `GET / HTTP/1.1\r\n${HOST}\r\nGET / HTTP/1.1\r\n${HOST}\r\n`],
    ['another method', `POST / HTTP/1.1\r\n${HOST}\r\n`],
    ['another version', `GET / HTTP/1.0\r\n${HOST}\r\n`],
    ['an absolute target', `GET http://x/ HTTP/1.1\r\n${HOST}\r\n`],
    ['a target with a NUL', `GET /\0 HTTP/1.1\r\n${HOST}\r\n`],
    ['a target with a blank', `GET /a b HTTP/1.1\r\n${HOST}\r\n`],
    ['no host', 'GET / HTTP/1.1\r\nAccept: x\r\n\r\n'],
    ['no header', 'GET / HTTP/1.1\r\n\r\n'],
    ['an empty host', 'GET / HTTP/1.1\r\nHost: \r\n\r\n'],
    ['two hosts', `GET / HTTP/1.1\r\n${HOST}Host: y\r\n\r\n`],
    ['a body', `GET / HTTP/1.1\r\n${HOST}Content-Length: 1\r\n\r\n`],
    ['a length of nothing', `GET / HTTP/1.1\r\n${HOST}Content-Length: 0\r\n\r\n`],
    ['chunks', `GET / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`],
    ['a length after a blank', `GET / HTTP/1.1\r\n${HOST}Content-Length : 1\r\n\r\n`],
    ['an upgrade', `GET / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`],
    ['an end', `GET / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`],
    ['an expectation', `GET / HTTP/1.1\r\n${HOST}Expect: 100-continue\r\n\r\n`],
    ['two ranges', `GET / HTTP/1.1\r\n${HOST}Range: bytes=0-1\r\nRange: bytes=2-3\r\n\r\n`],
    ['a folded header', `GET / HTTP/1.1\r\n${HOST}X: a\r\n b\r\n\r\n`],
    ['a line feed alone', `GET / HTTP/1.1\r\n${HOST}X: a\nContent-Length: 1\r\n\r\n`],
    ['a carriage return alone', `GET / HTTP/1.1\r\n${HOST}X: a\rContent-Length: 1\r\n\r\n`],
    ['a header beyond ASCII', `GET / HTTP/1.1\r\n${HOST}X: \xff\r\n\r\n`],
    ['65 headers', `GET / HTTP/1.1\r\n${HOST}${'X: a\r\n'.repeat(64)}\r\n`],
    ['9 KB', `GET / HTTP/1.1\r\n${HOST}X: ${'a'.repeat(9_000)}\r\n\r\n`],
    ['nothing', ''],
  ])('is not %s', (_, text) => {
    expect(read(text)).toBeUndefined();
  });
});
