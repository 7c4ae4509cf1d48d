import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { onError } from '#runtime/http/problem.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { AccessControl } from '#steering/http/access-control.ts';
import {
  FAILED_ADDRESSES_MAX,
  FAILED_LOGIN_FORGIVEN_MS,
  FAILED_LOGINS_AT_ONCE_MAX,
  FailedLogins,
} from '#steering/http/failed-logins.ts';
import { newAccessToken } from '#steering/registry/access-token.ts';

const ADMIN = 'the-admin-token';

function guarded() {
  const clock = new FakeClock();
  const metrics = createMetrics('test');
  const failedLogins = new FailedLogins({ clock, metrics });
  const operator = newAccessToken('ops', 'operator', clock.nowMs(), null);
  const expired = newAccessToken('old', 'admin', clock.nowMs(), clock.nowMs());
  let address: string | undefined = '203.0.113.1';
  const access = new AccessControl({
    clock,
    failedLogins,
    adminToken: ADMIN,
    accessTokens: () => [expired.token, operator.token],
    addressOf: () => address,
  });
  const app = new Hono().onError(onError(() => expect.unreachable()));
  app.get('/look', access.require('viewer'), (context) => context.text('in'));
  app.get('/rule', access.require('admin'), (context) => context.text('in'));
  const knock = async (token: string | undefined, path = '/look'): Promise<Response> =>
    app.request(path, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } });
  const from = (next: string | undefined): void => void (address = next);
  const figure = async (name: string): Promise<number> =>
    (await metrics.getSingleMetric(name)?.get())?.values[0]?.value ?? Number.NaN;
  return { clock, failedLogins, knock, from, figure, operator: operator.text, expired: expired.text };
}

describe('the ops API', () => {
  it('knows admin, tokens of the registry and strangers apart', async () => {
    const { knock, operator, expired } = guarded();
    expect((await knock(ADMIN, '/rule')).status).toBe(200);
    expect((await knock(operator)).status).toBe(200);
    expect((await knock(operator, '/rule')).status).toBe(403);
    expect((await knock(expired)).status).toBe(401);
    expect((await knock(undefined)).status).toBe(401);
    expect((await knock(`${ADMIN}x`)).status).toBe(401);
  });

  it('looks at no more tokens of an address after too many wrong ones, not even at right ones', async () => {
    const { knock, clock, figure } = guarded();
    for (let guess = 0; guess < FAILED_LOGINS_AT_ONCE_MAX; guess++)
      expect((await knock(`guess-${guess}`)).status).toBe(401);
    for (const token of ['one-more', ADMIN]) {
      const refused = await knock(token);
      expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '6']);
      expect(await refused.json()).toMatchObject({ code: 'too_many_failed_logins' });
    }
    expect(await figure('steering_login_failures_total')).toBe(FAILED_LOGINS_AT_ONCE_MAX);
    expect(await figure('steering_logins_refused_total')).toBe(2);
    clock.advance(FAILED_LOGIN_FORGIVEN_MS - 1);
    expect((await knock(ADMIN)).status).toBe(429);
    clock.advance(1);
    expect((await knock(ADMIN)).status).toBe(200);
    // A login that succeeds makes nothing good: one more guess is what there was.
    expect((await knock('again')).status).toBe(401);
    expect((await knock('again')).status).toBe(429);
  });

  it('lets others in meanwhile, and who has shown no token', async () => {
    const { knock, from } = guarded();
    from('2001:db8:0:100::1');
    for (let guess = 0; guess < FAILED_LOGINS_AT_ONCE_MAX; guess++) await knock('wrong');
    from('2001:db8:0:1ff::2');
    expect((await knock(ADMIN)).status).toBe(429);
    expect((await knock(undefined)).status).toBe(401);
    from('2001:db8:0:200::1');
    expect((await knock(ADMIN)).status).toBe(200);
  });

  it('takes neither a missing token nor a missing role for a guess', async () => {
    const { knock, operator, figure } = guarded();
    for (let round = 0; round < 2 * FAILED_LOGINS_AT_ONCE_MAX; round++) {
      expect((await knock(undefined)).status).toBe(401);
      expect((await knock(operator, '/rule')).status).toBe(403);
    }
    expect(await figure('steering_login_failures_total')).toBe(0);
  });

  it('remembers a bounded number of addresses', async () => {
    const { failedLogins } = guarded();
    for (let index = 0; index < 2 * FAILED_ADDRESSES_MAX; index++)
      failedLogins.failed(`10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`);
    expect(failedLogins.size).toBeLessThanOrEqual(FAILED_ADDRESSES_MAX);
  });
});
