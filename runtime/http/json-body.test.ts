import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { JSON_BODY_BYTES_MAX, readJson } from '#runtime/http/json-body.ts';
import { onError } from '#runtime/http/problem.ts';

const schema = z.strictObject({
  name: z.string().max(5).optional(),
  size: z.strictObject({ width: z.int() }).optional(),
});

const app = new Hono();
app.onError(onError(() => expect.unreachable()));
app.post('/json', async (context) => context.json(await readJson(context, schema)));
app.post('/maybe', async (context) => context.json(await readJson(context, schema, { optional: true })));

const post = (body: RequestInit['body'], headers: Record<string, string> = {}, path = '/json') =>
  app.request(path, {
    method: 'POST',
    body: body ?? null,
    headers: { 'content-type': 'application/json', ...headers },
  });

type Problem = { code: string; errors?: { field: string; message: string }[] };

describe('readJson', () => {
  it.each(['application/json', 'application/json; charset=utf-8', 'Application/JSON;charset="UTF-8"'])(
    'takes %s',
    async (type) => {
      const response = await post('{"name":"abc"}', { 'content-type': type });
      expect(await response.json()).toEqual({ name: 'abc' });
    },
  );

  it.each([
    ['text/plain', { 'content-type': 'text/plain' }],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['no type', { 'content-type': '' }],
    ['another charset', { 'content-type': 'application/json; charset=latin1' }],
    ['a compressed body', { 'content-encoding': 'gzip' }],
  ])('answers 415 to %s', async (_, headers) => {
    const response = await post('{}', headers);
    expect(response.status).toBe(415);
    expect(response.headers.get('content-type')).toBe('application/problem+json');
  });

  it.each([
    ['nothing', ''],
    ['half an object', '{"name":'],
    ['a trailing comma', '{"name":"a",}'],
    ['bytes that are not UTF-8', Buffer.from([0x22, 0xff, 0x22])],
    ['NaN', '{"size":NaN}'],
  ])('answers 400 json_invalid to %s', async (_, body) => {
    const response = await post(body);
    expect(response.status).toBe(400);
    expect(((await response.json()) as Problem).code).toBe('json_invalid');
  });

  it('names every field that is wrong', async () => {
    const response = await post(
      JSON.stringify({ name: 'too long', size: { width: 'x', depth: 1 }, more: 1 }),
    );
    expect(response.status).toBe(400);
    const problem = (await response.json()) as Problem;
    expect(problem.errors?.map(({ field }) => field)).toEqual(['name', 'size.width', 'size.depth', 'more']);
  });

  it.each([
    ['an array', '[]'],
    ['a string', '"x"'],
    ['null', 'null'],
    ['very deep nesting', '['.repeat(30_000) + ']'.repeat(30_000)],
    ['a prototype', '{"__proto__":{"name":"x"}}'],
    [
      'a thousand unknown fields',
      JSON.stringify(Object.fromEntries([...Array(1_000).keys()].map((n) => [`k${n}`, n]))),
    ],
  ])('answers 400 to %s', async (_, body) => {
    const response = await post(body);
    expect(response.status).toBe(400);
    const problem = (await response.json()) as Problem;
    expect(problem.code).toBe('validation_failed');
    expect(problem.errors?.length).toBeGreaterThan(0);
    expect(problem.errors?.length).toBeLessThanOrEqual(50);
  });

  it('answers 413 to a body that is too large, whether its length is announced or not', async () => {
    const body = JSON.stringify({ name: 'x'.repeat(JSON_BODY_BYTES_MAX) });
    expect((await post(body, { 'content-length': String(body.length) })).status).toBe(413);
    const unannounced: RequestInit = {
      method: 'POST',
      body: new Blob([body]).stream(),
      duplex: 'half',
      headers: { 'content-type': 'application/json' },
    };
    expect((await app.request('/json', unannounced)).status).toBe(413);
  });

  it('takes no body for {} where that is allowed', async () => {
    expect((await post(null, { 'content-type': '' }, '/maybe')).status).toBe(200);
    expect((await post('{"more":1}', {}, '/maybe')).status).toBe(400);
  });
});
