import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { importAccessKey } from '#protocol/access/access-keys.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { keepAccessKeys } from '#runtime/access-keys-file.ts';
import { PlaybackAccess } from '#origin/access/playback-access.ts';
import { PlaybackTokens } from '#origin/access/playback-tokens.ts';
import { FakeClock } from '#runtime/clock.ts';

const folder = mkdtempSync(join(tmpdir(), 'access-keys-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'sub', 'access-token-keys');
const ANYONE = { expiresIn: 60, countries: [], session: '' };
const asked = (path: string): URL => new URL(path, 'http://origin');

describe('the keys of an origin that was given none', () => {
  it('are made once, for the owner alone', () => {
    const made = keepAccessKeys(file);
    expect(made).toEqual(keepAccessKeys(file));
    expect(made[0]?.secret).toHaveLength(32);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });
});

describe.each(['hmac', 'cat'] as const)('a token of format %s', (format) => {
  it('lets its holder into a protected stream until it expires', async () => {
    const clock = new FakeClock();
    const [secret] = keepAccessKeys(file);
    const key = await importAccessKey('k1', secret?.secret ?? new Uint8Array());
    const access = new PlaybackAccess([key], ['pull-token-of-cdns'], {
      clock,
      metrics: createMetrics('origin'),
      accessOf: (streamId) => (streamId === 'shop' ? 'token' : 'public'),
    });
    const { token } = await new PlaybackTokens([key], clock).mint('shop', { ...ANYONE, format });

    expect([access.isPublic('shop'), access.isPublic('other')]).toEqual([false, true]);
    await access.assertMayPlay(token, undefined, asked('/live/shop/v/1.m4s'));
    await expect(
      access.assertMayPlay(undefined, undefined, asked('/live/shop/v/1.m4s')),
    ).rejects.toMatchObject({
      status: 401,
      code: 'token_missing',
    });
    await expect(access.assertMayPlay(token, undefined, asked('/live/shop2/v/1.m4s'))).rejects.toMatchObject({
      status: 403,
      code: 'token_stream_mismatch',
    });
    await access.assertMayPlay(undefined, 'Bearer pull-token-of-cdns', asked('/live/shop/v/1.m4s'));
    await expect(
      access.assertMayPlay(undefined, 'Bearer pull-token-of-thieves', asked('/live/shop/v/1.m4s')),
    ).rejects.toMatchObject({ code: 'token_missing' });
    clock.advance(61_000);
    await expect(access.assertMayPlay(token, undefined, asked('/live/shop/v/1.m4s'))).rejects.toMatchObject({
      code: 'token_expired',
    });
  });
});
