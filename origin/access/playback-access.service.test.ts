import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OriginUnderTest, type Problem } from '#origin/testing/origin-under-test.ts';
import { hasNoPostgres, startTestPostgres, type TestPostgres } from '#tests/support/test-postgres.ts';

type Minted = {
  readonly token: string;
  readonly format: string;
  readonly expiresAt: string;
  readonly playback: { readonly hls: string };
};

describe.skipIf(hasNoPostgres)('a protected stream', () => {
  let postgres: TestPostgres;
  let origin: OriginUnderTest;
  beforeAll(async () => {
    postgres = await startTestPostgres();
    origin = await OriginUnderTest.start(
      {},
      { database: postgres.open({}, await postgres.createDatabase()) },
    );
    for (const [id, access] of [
      ['shop', 'token'],
      ['square', 'public'],
    ] as const) {
      const { streamKey } = await origin.createStream({ id, access });
      const { body: grant } = await origin.authorise(streamKey);
      await origin.publish(grant, 2);
    }
  });
  afterAll(async () => {
    await origin.close();
    await postgres.close();
  });

  const mint = (id: string, body: object) =>
    origin.call<Minted & Problem>('POST', `/api/v1/streams/${id}/tokens`, { body });
  const play = (path: string) => origin.call<Problem>('GET', path, { token: null });

  it.each(['hmac', 'cat'])('is played with a token of format %s in its path', async (format) => {
    const { status, body } = await mint('shop', { format, expiresIn: 60, session: 'viewer-1' });
    expect([status, body.format]).toEqual([201, format]);
    expect(Date.parse(body.expiresAt) - Date.now()).toBeLessThanOrEqual(60_000);
    expect(body.playback.hls).toBe(`${origin.origin.url}/t/${body.token}/live/shop/master.m3u8`);
    const { pathname } = new URL(body.playback.hls);
    const master = await play(pathname);
    expect([master.status, master.headers.get('livehls-access')]).toEqual([200, 'token']);
    const uri = master.text.split('\n').find((line) => line !== '' && !line.startsWith('#')) ?? '';
    expect(new URL(uri, body.playback.hls).pathname).toContain(`/t/${body.token}/live/shop/`);
    expect((await play(new URL(uri, body.playback.hls).pathname)).status).toBe(200);
  });

  it('says by a code why somebody is turned away', async () => {
    const bare = await play('/live/shop/master.m3u8');
    expect([bare.status, bare.body.code, bare.headers.get('cache-control')]).toEqual([
      401,
      'token_missing',
      'no-store',
    ]);
    expect(bare.headers.get('access-control-allow-origin')).toBe('*');
    const made = await play('/t/1~k1~99999999999~shop~~~AAAA/live/shop/master.m3u8');
    expect([made.status, made.body.code]).toEqual([403, 'token_malformed']);
    const { body } = await mint('square', {});
    const other = await play(`/t/${body.token}/live/shop/master.m3u8`);
    expect([other.status, other.body.code]).toEqual([403, 'token_stream_mismatch']);
  });

  it('lets a CDN ask whether a token opens a stream', async () => {
    const { body } = await mint('shop', {});
    const allowed = await play(`/t/${body.token}/live/shop/access`);
    expect([allowed.status, allowed.headers.get('cache-control')]).toEqual([204, 'public, max-age=10']);
    expect((await play('/live/square/access')).status).toBe(204);
    expect((await play('/live/shop/access')).status).toBe(401);
    expect((await play('/t/x/live/shop/access')).status).toBe(403);
  });

  it('leaves public streams to everybody, token or not', async () => {
    const plain = await play('/live/square/master.m3u8');
    expect([plain.status, plain.headers.get('livehls-access')]).toEqual([200, null]);
    expect((await play('/t/whatever/live/square/master.m3u8')).status).toBe(200);
  });

  it('becomes one while it is live', async () => {
    const set = (access: string) => origin.call('PATCH', '/api/v1/streams/square', { body: { access } });
    await set('token');
    expect((await play('/live/square/master.m3u8')).status).toBe(401);
    await set('public');
    expect((await play('/live/square/master.m3u8')).status).toBe(200);
  });

  it('gives tokens to operators alone, and for what there is', async () => {
    const path = '/api/v1/streams/shop/tokens';
    expect((await origin.call('POST', path, { token: null })).status).toBe(401);
    expect((await mint('nothing', {})).body.code).toBe('stream_not_found');
    for (const body of [
      { format: 'jwt' },
      { expiresIn: 0 },
      { countries: ['de'] },
      { session: 'a b' },
      { x: 1 },
    ])
      expect((await mint('shop', body)).body.code).toBe('validation_failed');
    expect((await origin.call('GET', path)).status).toBe(405);
  });
});
