import { expect, it } from 'vitest';
import { importAccessKey } from '#protocol/access/access-keys.ts';
import { splitTokenPath } from '#protocol/access/token-path.ts';
import { TokenVerifier } from '#protocol/access/token-verifier.ts';
import { FakeClock } from '#runtime/clock.ts';
import { ProbePasses } from '#steering/probe/probe-passes.ts';

const key = await importAccessKey('k1', new Uint8Array(32));
const isProtected = (streamId: string): boolean => streamId === 'shop';

it('gives probes of protected streams a token, and a new one in time', async () => {
  const clock = new FakeClock();
  const passes = new ProbePasses(key, isProtected, clock);
  expect(await passes.masterPath('square')).toBe('live/square/master.m3u8');

  const first = await passes.masterPath('shop');
  clock.advance(299_000);
  expect(await passes.masterPath('shop')).toBe(first);
  clock.advance(2_000);
  const second = await passes.masterPath('shop');
  expect(second).not.toBe(first);

  const { token, path } = splitTokenPath(`/${second}`);
  const url = new URL(path, 'http://cdn');
  const verdict = await new TokenVerifier([key]).authorise(token, { url, nowS: clock.nowMs() / 1_000 });
  expect(verdict).toMatchObject({ grant: { sessionId: 'probe' } });
});

it('does without a key what it can', async () => {
  const passes = new ProbePasses(undefined, isProtected, new FakeClock());
  expect(await passes.masterPath('shop')).toBe('live/shop/master.m3u8');
});
