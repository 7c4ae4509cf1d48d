import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import { allowOnly } from '#runtime/http/methods.ts';
import { onError } from '#runtime/http/problem.ts';

const app = new Hono();
app.onError(onError(() => expect.unreachable()));
app.post('/json', (context) => context.text('taken'));
allowOnly(app, '/json', ['POST']);
app.get('/read', (context) => context.text('read'));
allowOnly(app, '/read', ['GET']);

describe('allowOnly', () => {
  it.each(['GET', 'PUT', 'DELETE', 'PATCH'])('answers 405 to %s with what is allowed', async (method) => {
    const response = await app.request('/json', { method });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('POST, OPTIONS');
  });

  it('answers OPTIONS, and HEAD where GET is allowed', async () => {
    const options = await app.request('/read', { method: 'OPTIONS' });
    expect([options.status, options.headers.get('allow')]).toEqual([204, 'GET, HEAD, OPTIONS']);
    expect((await app.request('/read', { method: 'HEAD' })).status).toBe(200);
  });
});
