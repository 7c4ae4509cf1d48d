import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importAccessKey, type AccessKey } from '#protocol/access/access-keys.ts';
import { signCommonAccessToken } from '#protocol/access/common-access-token.ts';
import { signHmacToken } from '#protocol/access/hmac-token.ts';
import { startEdgeInWorkerd } from '#tests/support/edge-in-workerd.ts';
import {
  snapshotCdn,
  startEdge,
  startStubSteering,
  type StubSteering,
} from '#tests/support/edge-under-test.ts';
import { startLiveOrigin, type LiveOrigin } from '#tests/support/live-origin.ts';

const SECRET = Buffer.alloc(32, 5);
const PULL_TOKEN = 'pull-token-of-the-tests';
const BROWSER = { 'user-agent': 'Mozilla/5.0 (X11; Linux x64) Chrome/140' };

describe.each([
  ['Node', startEdge],
  ['workerd', startEdgeInWorkerd],
])('a protected stream at an edge in %s', (_where, start) => {
  let key: AccessKey;
  let origin: LiveOrigin;
  let steering: StubSteering;
  let edge: Awaited<ReturnType<typeof start>>;
  const expiresAtS = Math.floor(Date.now() / 1_000) + 600;
  const streams = { match: 'exact', value: 'demo' } as const;
  const get = (path: string): Promise<Response> => fetch(edge.url + path, { headers: BROWSER });
  const problem = async (path: string): Promise<[number, unknown]> => {
    const response = await get(path);
    return [response.status, ((await response.json()) as { readonly code: unknown }).code];
  };

  beforeAll(async () => {
    key = await importAccessKey('k1', SECRET);
    origin = await startLiveOrigin('demo', { accessKeys: [key], pullTokens: [PULL_TOKEN] });
    steering = await startStubSteering([snapshotCdn('north', 'https://north.example')]);
    edge = await start({
      ORIGIN_URLS: origin.url,
      EDGE_STEERING_URLS: steering.url,
      ACCESS_TOKEN_KEYS: `k1:${SECRET.toString('base64url')}`,
      ORIGIN_PULL_TOKEN: PULL_TOKEN,
    });
  });
  afterAll(async () => {
    await edge?.close();
    await steering?.close();
    await origin?.close();
  });

  it.each(['hmac', 'cat'])('opens to a token of format %s, which stays in every URL', async (format) => {
    const token =
      format === 'hmac'
        ? await signHmacToken({ streams, expiresAtS }, key)
        : await signCommonAccessToken(
            { issuer: 'shop', issuedAtS: 0, expiresAtS, path: { match: 'prefix', value: '/live/demo/' } },
            key,
          );
    const master = await (await get(`/t/${token}/live/demo/master.m3u8`)).text();
    expect(master).toContain(`https://north.example/t/${token}/live/demo/`);
    const rendition = /\/live\/demo\/([^/]+)\/index\.m3u8/.exec(master)?.[1] ?? '';
    const playlist = await get(`/t/${token}/live/demo/${rendition}/index.m3u8`);
    expect(playlist.status).toBe(200);
    const init = /URI="(init-\d+\.mp4)"/.exec(await playlist.text())?.[1] ?? '';
    expect((await get(`/t/${token}/live/demo/${rendition}/${init}`)).status).toBe(200);
    expect(await problem(`/live/demo/${rendition}/${init}`)).toEqual([401, 'token_missing']);
  });

  it('says by a code why it stays closed', async () => {
    const master = '/live/demo/master.m3u8';
    expect(await problem(master)).toEqual([401, 'token_missing']);
    expect(await problem(`/t/abc${master}`)).toEqual([403, 'token_malformed']);
    const past = await signHmacToken({ streams, expiresAtS: 1_000 }, key);
    expect(await problem(`/t/${past}${master}`)).toEqual([403, 'token_expired']);
    const other = await signHmacToken({ streams: { ...streams, value: 'other' }, expiresAtS }, key);
    expect(await problem(`/t/${other}${master}`)).toEqual([403, 'token_stream_mismatch']);
    const abroad = await signHmacToken({ streams, expiresAtS, countries: ['SE'] }, key);
    expect(await problem(`/t/${abroad}${master}`)).toEqual([403, 'token_country_mismatch']);
  });

  it('keeps the steering session of a viewer whose token names him', async () => {
    const token = await signHmacToken({ streams, expiresAtS, sessionId: 'viewer-1' }, key);
    const sessionOf = async (): Promise<string> => {
      const master = await (await get(`/t/${token}/live/demo/master.m3u8`)).text();
      return /session=(?:.{3})([A-Za-z0-9_-]{20})/.exec(master)?.[1] ?? '';
    };
    const first = await sessionOf();
    expect(first).toHaveLength(20);
    expect(await sessionOf()).toBe(first);
  });
});
