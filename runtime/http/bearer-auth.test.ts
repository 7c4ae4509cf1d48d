import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import { requireBearer } from '#runtime/http/bearer-auth.ts';
import { onError } from '#runtime/http/problem.ts';

const app = new Hono();
app.onError(onError(() => expect.unreachable()));
app.use('/closed/*', requireBearer('the-right-token', 'test'));
app.get('/closed/thing', (context) => context.text('in'));

describe('requireBearer', () => {
  it.each(['Bearer the-right-token', 'bearer the-right-token', 'Bearer   the-right-token'])(
    'lets "%s" pass',
    async (authorization) => {
      const response = await app.request('/closed/thing', { headers: { authorization } });
      expect(response.status).toBe(200);
    },
  );

  it('lets the preflight of a browser pass, which has no token, and nothing else', async () => {
    const preflight = await app.request('/closed/thing', { method: 'OPTIONS' });
    expect(preflight.status).toBe(404);
    expect((await app.request('/closed/thing', { method: 'POST' })).status).toBe(401);
  });

  it.each([
    ['nothing', undefined, 'Bearer realm="test"'],
    ['another scheme', 'Basic the-right-token', 'Bearer realm="test"'],
    ['no token', 'Bearer', 'Bearer realm="test"'],
    ['two tokens', 'Bearer the-right-token the-right-token', 'Bearer realm="test"'],
    ['another token', 'Bearer the-wrong-token', 'Bearer realm="test", error="invalid_token"'],
    ['a longer token', 'Bearer the-right-tokenx', 'Bearer realm="test", error="invalid_token"'],
    ['a part of the token', 'Bearer the-right-toke', 'Bearer realm="test", error="invalid_token"'],
  ])('answers 401 to %s', async (_, authorization, challenge) => {
    const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
    const response = await app.request('/closed/thing', { headers });
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toBe(challenge);
    expect(await response.text()).not.toContain('right-token');
  });

  it('answers 401 before it says whether a path exists', async () => {
    expect((await app.request('/closed/nothing')).status).toBe(401);
  });
});
