import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OpenApiCheck } from '#origin/testing/openapi-check.ts';
import {
  ADMIN_TOKEN,
  OriginUnderTest,
  type ApiStream,
  type Problem,
} from '#origin/testing/origin-under-test.ts';
import { webhookPayload } from '#origin/webhooks/webhook-event.ts';
import { WebhookReceiver } from '#origin/webhooks/testing/webhook-receiver.ts';
import { hasNoPostgres, startTestPostgres, type TestPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

type ApiKey = { readonly id: string; readonly key: string; readonly lastUsedAt: string | null };
type ApiWebhook = { readonly id: string; readonly secret: string };
type AuditEntry = {
  readonly action: string;
  readonly actor: string;
  readonly subject: string | null;
  readonly streamId: string | null;
};

describe.skipIf(hasNoPostgres)('tenants and keys of the API', () => {
  let postgres: TestPostgres;
  let databaseName: string;
  let origin: OriginUnderTest;
  let api: OpenApiCheck;
  let receiver: WebhookReceiver;

  beforeAll(async () => {
    postgres = await startTestPostgres();
    databaseName = await postgres.createDatabase();
    receiver = await WebhookReceiver.start();
    origin = await OriginUnderTest.start(
      { ORIGIN_WEBHOOK_ALLOWED_TARGETS: receiver.host },
      { database: postgres.open({}, databaseName) },
    );
    api = await OpenApiCheck.of(origin);
  });
  afterAll(async () => {
    await origin.close();
    await receiver.close();
    await postgres.close();
  });

  const as = (tenant: string) => ({ headers: { 'livehls-tenant': tenant } });
  const makeTenant = async (id: string, limits: object = {}): Promise<void> => {
    const { status } = await api.call('POST', '/api/v1/tenants', { body: { id, ...limits } });
    expect(status).toBe(201);
  };
  const makeKey = async (
    tenant: string,
    scopes: readonly string[] = ['admin'],
    more: object = {},
  ): Promise<ApiKey> => {
    const body = { name: `key of ${tenant}`, scopes, ...more };
    const answer = await api.call<ApiKey>('POST', '/api/v1/api-keys', { body, ...as(tenant) });
    expect(answer.status).toBe(201);
    return answer.body;
  };
  const codeOf = async (
    method: string,
    path: string,
    options: Parameters<OpenApiCheck['call']>[2] = {},
  ): Promise<readonly [number, string | undefined]> => {
    const { status, body } = await api.call<Problem>(method, path, options);
    return [status, body.code];
  };

  describe('a tenant', () => {
    it('sees its own streams only; those of others are answered 404', async () => {
      await makeTenant('north');
      await makeTenant('south');
      const { key: north } = await makeKey('north');
      const { key: south } = await makeKey('south');
      const made = await api.call<ApiStream>('POST', '/api/v1/streams', {
        body: { id: 'of-north', name: 'North' },
        token: north,
      });
      expect(made.status).toBe(201);
      const path = '/api/v1/streams/of-north';
      const keyPath = `${path}/keys/${made.body.keys[0]?.id ?? ''}`;
      const strangers = [{ token: south }, { token: ADMIN_TOKEN }, { token: ADMIN_TOKEN, ...as('south') }];
      for (const stranger of strangers) {
        for (const [method, suffix] of [
          ['GET', ''],
          ['GET', '/stats'],
          ['GET', '/recordings'],
          ['DELETE', ''],
          ['POST', '/keys'],
          ['POST', '/tokens'],
        ] as const)
          expect(await codeOf(method, path + suffix, stranger)).toEqual([404, 'stream_not_found']);
        expect(await codeOf('PATCH', path, { body: { name: 'x' }, ...stranger })).toEqual([
          404,
          'stream_not_found',
        ]);
        expect(await codeOf('DELETE', keyPath, stranger)).toEqual([404, 'stream_not_found']);
        const { body } = await api.call('GET', '/api/v1/streams', stranger);
        expect(JSON.stringify(body)).not.toContain('of-north');
        const audit = await api.call('GET', '/api/v1/audit', stranger);
        expect(audit.text).not.toContain('of-north');
        const keys = await api.call('GET', '/api/v1/api-keys', stranger);
        expect(keys.text).not.toContain('key of north');
      }
      for (const own of [{ token: north }, as('north')])
        expect((await api.call<ApiStream>('GET', path, own)).body.name).toBe('North');
      expect((await api.call('GET', `${path}/recordings`, { token: north })).body).toEqual({
        recordings: [],
        nextCursor: null,
      });
      expect((await api.call('POST', `${path}/tokens`, { token: north })).status).toBe(201);
      expect((await api.call('GET', `${path}/stats`, { token: north })).status).toBe(200);
    });

    it('cannot take the id of another tenant’s stream, nor its key', async () => {
      await makeTenant('first');
      await makeTenant('second');
      const { key: first } = await makeKey('first');
      const { key: second } = await makeKey('second');
      const body = { id: 'contested', streamKey: 'a-key-that-is-contested' };
      await api.call('POST', '/api/v1/streams', { body, token: first });
      expect(await codeOf('POST', '/api/v1/streams', { body, token: second })).toEqual([
        409,
        'stream_exists',
      ]);
      expect(
        await codeOf('POST', '/api/v1/streams', {
          body: { streamKey: body.streamKey },
          token: second,
        }),
      ).toEqual([409, 'stream_key_taken']);
    });

    it('has an Idempotency-Key to itself', async () => {
      await makeTenant('twin-a');
      await makeTenant('twin-b');
      const headers = { 'idempotency-key': 'the-same' };
      const ids = [];
      for (const tenant of ['twin-a', 'twin-b', 'twin-a']) {
        const { key } = await makeKey(tenant);
        const { status, body } = await api.call<ApiStream>('POST', '/api/v1/streams', {
          token: key,
          headers,
        });
        expect(status).toBe(201);
        ids.push(body.id);
      }
      expect(ids[2]).toBe(ids[0]);
      expect(ids[1]).not.toBe(ids[0]);
    });

    it('may have so many streams, and publish so many of them at once', async () => {
      await makeTenant('small', { streamsMax: 3, liveMax: 1 });
      const { key: token } = await makeKey('small');
      const streams: ApiStream[] = [];
      for (let n = 0; n < 3; n++)
        streams.push((await api.call<ApiStream>('POST', '/api/v1/streams', { token })).body);
      expect(await codeOf('POST', '/api/v1/streams', { token })).toEqual([409, 'streams_exhausted']);

      const [one, two] = streams;
      const first = await origin.authorise(one?.streamKey ?? '');
      expect(first.status).toBe(201);
      const alive = origin.keepAlive(first.body);
      const refused = await origin.authorise(two?.streamKey ?? '');
      expect([refused.status, refused.body.code]).toEqual([409, 'tenant_live_exhausted']);
      const other = await origin.createStream();
      expect((await origin.authorise(other.streamKey)).status).toBe(201);
      expect(await alive.stop()).toEqual(new Set([200]));
      const { sessionId, fencingToken, streamId } = first.body;
      await origin.ingest(`${streamId}/end`, { sessionId, fencingToken, reason: 'unpublished' });
      expect((await origin.authorise(two?.streamKey ?? '')).status).toBe(201);

      const changed = await api.call('PATCH', '/api/v1/tenants/small', {
        body: { liveMax: null, streamsMax: 4 },
      });
      expect(changed.body).toMatchObject({ id: 'small', name: 'small', liveMax: null, streamsMax: 4 });
      expect((await origin.authorise(one?.streamKey ?? '')).status).toBe(201);
      expect((await api.call('POST', '/api/v1/streams', { token })).status).toBe(201);
    });

    it('publishes one of two streams that come at the same moment, when it may publish one', async () => {
      await makeTenant('single', { liveMax: 1 });
      const { key: token } = await makeKey('single');
      const make = async () => (await api.call<ApiStream>('POST', '/api/v1/streams', { token })).body;
      const streams = [await make(), await make(), await make()];
      const answers = await Promise.all(streams.map(({ streamKey }) => origin.authorise(streamKey)));
      const statuses = answers.map(({ status }) => status).toSorted((a, b) => a - b);
      expect(statuses).toEqual([201, 409, 409]);
    });

    it('is made, listed, changed and deleted by the admin token alone', async () => {
      await makeTenant('short-lived');
      const { key } = await makeKey('short-lived');
      expect(await codeOf('GET', '/api/v1/tenants', { token: key })).toEqual([403, 'scope_missing']);
      expect(await codeOf('GET', '/api/v1/tenants/short-lived', { token: key })).toEqual([
        403,
        'scope_missing',
      ]);
      expect(await codeOf('POST', '/api/v1/tenants', { body: { id: 'short-lived' } })).toEqual([
        409,
        'tenant_exists',
      ]);
      expect(await codeOf('POST', '/api/v1/tenants', { body: { id: 'No Good' } })).toEqual([
        400,
        'validation_failed',
      ]);
      const found: string[] = [];
      let cursor = '';
      do {
        const path = `/api/v1/tenants?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`;
        const { body } = await api.call<{ tenants: { id: string }[]; nextCursor: string | null }>(
          'GET',
          path,
        );
        found.push(...body.tenants.map(({ id }) => id));
        cursor = body.nextCursor ?? '';
      } while (cursor !== '');
      expect(found).toEqual(found.toSorted());
      expect(found).toEqual(expect.arrayContaining(['default', 'short-lived']));
      expect(new Set(found).size).toBe(found.length);

      const { body } = await api.call<ApiStream>('POST', '/api/v1/streams', { token: key });
      expect(await codeOf('DELETE', '/api/v1/tenants/short-lived')).toEqual([409, 'tenant_not_empty']);
      await api.call('DELETE', `/api/v1/streams/${body.id}`, { token: key });
      expect((await api.call('DELETE', '/api/v1/tenants/short-lived')).status).toBe(204);
      expect(await codeOf('GET', '/api/v1/tenants/short-lived')).toEqual([404, 'tenant_not_found']);
      expect(await codeOf('POST', '/api/v1/streams', as('short-lived'))).toEqual([404, 'tenant_not_found']);
      expect(await codeOf('DELETE', '/api/v1/tenants/default')).toEqual([409, 'tenant_is_default']);
      await waitFor('its key to end', async () => {
        return (await origin.call('GET', '/api/v1/streams', { token: key })).status === 401;
      });
    });
  });

  describe('a key of the API', () => {
    it('may do what its scopes say', async () => {
      const { id } = await origin.createStream();
      const may = async (scopes: readonly string[]): Promise<number[]> => {
        const { key: token } = await makeKey('default', scopes);
        const statuses = [];
        for (const [method, path, body] of [
          ['GET', `/api/v1/streams/${id}`, undefined],
          ['PATCH', `/api/v1/streams/${id}`, { name: 'x' }],
          ['GET', `/api/v1/streams/${id}/stats`, undefined],
          ['GET', '/api/v1/audit', undefined],
          ['GET', '/api/v1/api-keys', undefined],
          ['GET', '/api/v1/tenants', undefined],
        ] as const)
          statuses.push((await api.call(method, path, { token, body })).status);
        return statuses;
      };
      expect(await may(['admin'])).toEqual([200, 200, 200, 200, 200, 403]);
      expect(await may(['streams:write'])).toEqual([200, 200, 200, 403, 403, 403]);
      expect(await may(['streams:read'])).toEqual([200, 403, 200, 403, 403, 403]);
      expect(await may(['ops'])).toEqual([403, 403, 200, 200, 403, 403]);
      expect(await may(['ops', 'streams:read'])).toEqual([200, 403, 200, 200, 403, 403]);
    });

    it('is shown once, is known by its last use, and ends when it is deleted', async () => {
      await makeTenant('keys');
      const { id, key, lastUsedAt } = await makeKey('keys');
      expect(key).toMatch(/^lha_[a-z2-7]{12}_[A-Za-z0-9_-]{51}$/);
      expect(lastUsedAt).toBe(null);
      expect((await api.call('GET', '/api/v1/streams', { token: key })).status).toBe(200);
      const { body, text } = await api.call<ApiKey>('GET', `/api/v1/api-keys/${id}`, { token: key });
      expect(Date.now() - Date.parse(body.lastUsedAt ?? '')).toBeLessThan(120_000);
      expect(text).not.toContain(key);
      const list = await api.call('GET', '/api/v1/api-keys', { token: key });
      expect(list.text).toContain(id);
      expect(list.text).not.toContain(key);
      expect(await codeOf('GET', `/api/v1/api-keys/${id}`)).toEqual([404, 'api_key_not_found']);
      expect(await codeOf('DELETE', `/api/v1/api-keys/${id}`)).toEqual([404, 'api_key_not_found']);
      expect((await api.call('DELETE', `/api/v1/api-keys/${id}`, as('keys'))).status).toBe(204);
      expect(await codeOf('GET', '/api/v1/streams', { token: key })).toEqual([401, 'unauthorized']);
    });

    it('ends when its time is over', async () => {
      const { key } = await makeKey('default', ['streams:read'], { expiresIn: 1 });
      await waitFor('the key to end', async () => {
        return (await origin.call('GET', '/api/v1/streams', { token: key })).status === 401;
      });
      expect(await codeOf('GET', '/api/v1/streams', { token: key })).toEqual([401, 'unauthorized']);
    });

    it('cannot be made up, nor act for another tenant', async () => {
      const { key } = await makeKey('default', ['streams:read']);
      const last = key.endsWith('A') ? 'B' : 'A';
      for (const token of [`${key.slice(0, -1)}${last}`, key.toUpperCase(), `${key}x`, 'lha_x'])
        expect(await codeOf('GET', '/api/v1/streams', { token })).toEqual([401, 'unauthorized']);
      expect(await codeOf('GET', '/api/v1/streams', { token: key, ...as('north') })).toEqual([
        403,
        'tenant_forbidden',
      ]);
    });

    it('opens no ingest call', async () => {
      const { key } = await makeKey('default');
      const body = { streamKey: 'x', remoteAddress: '' };
      const { status } = await origin.call('POST', '/ingest/v1/sessions', { body, token: key });
      expect(status).toBe(401);
    });

    it('is in the database as a digest only', async () => {
      const headers = { 'idempotency-key': 'for-a-key' };
      const body = { name: 'sealed', scopes: ['ops'] };
      const first = await api.call<ApiKey>('POST', '/api/v1/api-keys', { body, headers });
      const again = await api.call<ApiKey>('POST', '/api/v1/api-keys', { body, headers });
      expect(again.body).toEqual(first.body);
      const rows = await postgres.open({}, databaseName).run(
        ({ sql }) => sql`
        select (select json_agg(k) from origin.api_keys k) as keys, (select json_agg(a) from origin.audit a) as audit,
          (select json_agg(i) from origin.idempotency_keys i) as answers`,
      );
      const everything = JSON.stringify(rows);
      expect(everything).toContain(first.body.id);
      for (const text of [first.body.key, Buffer.from(first.body.key).toString('hex')])
        expect(everything).not.toContain(text);
    });
  });

  describe('a stream key', () => {
    it('of two that are valid can be ended, the last one cannot', async () => {
      const { id, streamKey: old, keys } = await origin.createStream();
      const rotated = await api.call<ApiStream>('POST', `/api/v1/streams/${id}/keys`, {
        body: { grace: 600, expiresIn: 3_600 },
      });
      const [fresh, former] = rotated.body.keys;
      expect(former?.id).toBe(keys[0]?.id);
      expect(Date.parse(fresh?.expiresAt ?? '') - Date.now()).toBeGreaterThan(3_000_000);
      const session = await origin.authorise(old);
      expect(session.status).toBe(201);
      expect((await api.call('DELETE', `/api/v1/streams/${id}/keys/${former?.id ?? ''}`)).status).toBe(204);
      expect((await origin.heartbeat(session.body)).body.code).toBe('session_ended');
      expect((await origin.authorise(old)).status).toBe(403);
      expect(await codeOf('DELETE', `/api/v1/streams/${id}/keys/${former?.id ?? ''}`)).toEqual([
        404,
        'stream_key_not_found',
      ]);
      expect(await codeOf('DELETE', `/api/v1/streams/${id}/keys/${fresh?.id ?? ''}`)).toEqual([
        409,
        'stream_key_last',
      ]);
      expect((await origin.authorise(rotated.body.streamKey)).status).toBe(201);
    });
  });

  describe('the audit', () => {
    it('tells who has changed what, newest first, page by page', async () => {
      await makeTenant('watched');
      const { id, key: token } = await makeKey('watched');
      await api.call('POST', '/api/v1/streams', { body: { id: 'watched-1' }, token });
      await api.call('PATCH', '/api/v1/streams/watched-1', { body: { name: 'x' }, token });
      await api.call('DELETE', '/api/v1/streams/watched-1', { token });
      const entries: AuditEntry[] = [];
      let cursor = '';
      do {
        const path = `/api/v1/audit?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`;
        const { body } = await api.call<{ entries: AuditEntry[]; nextCursor: string | null }>('GET', path, {
          token,
        });
        entries.push(...body.entries);
        cursor = body.nextCursor ?? '';
      } while (cursor !== '');
      expect(
        entries.map(({ action, actor, subject, streamId }) => [action, actor, subject ?? streamId]),
      ).toEqual([
        ['stream.deleted', `api-key:${id}`, 'watched-1'],
        ['stream.updated', `api-key:${id}`, 'watched-1'],
        ['stream.created', `api-key:${id}`, 'watched-1'],
        ['api_key.created', 'admin-token', `api_key:${id}`],
      ]);
      const { body } = await api.call<{ entries: AuditEntry[] }>('GET', '/api/v1/audit?stream=watched-1', {
        token,
      });
      expect(body.entries.length).toBe(3);
    });
  });

  describe('a webhook', () => {
    it('is told of a stream from its beginning to its end, signed, and of no other tenant’s', async () => {
      await makeTenant('told');
      const { key: token } = await makeKey('told');
      const made = await api.call<ApiWebhook>('POST', '/api/v1/webhooks', {
        body: { url: receiver.url('/told') },
        token,
      });
      expect(made.body.secret).toMatch(/^whsec_/);
      receiver.secrets.set('/told', made.body.secret);
      const stream = await api.call<ApiStream>('POST', '/api/v1/streams', {
        body: { name: 'Told', reconnectWindow: 0, retention: 0, dvrWindow: 0 },
        token,
      });
      for (const streamKey of [stream.body.streamKey, (await origin.createStream()).streamKey]) {
        const { body: grant } = await origin.authorise(streamKey);
        const alive = origin.keepAlive(grant);
        await origin.publish(grant);
        if (streamKey === stream.body.streamKey)
          await waitFor('the beginning', () => receiver.received.length === 1);
        await alive.stop();
        const { sessionId, fencingToken, streamId } = grant;
        await origin.ingest(`${streamId}/end`, { sessionId, fencingToken, reason: 'unpublished' });
      }
      await waitFor('the end', () => receiver.typesAt('/told').includes('stream.ended'));
      const types = receiver.typesAt('/told').filter((type) => type !== 'stream.reconnecting');
      expect(types).toEqual(['stream.live', 'stream.ended']);
      expect(receiver.received.every(({ isSigned }) => isSigned)).toBe(true);
      expect(receiver.received.every(({ data }) => data['streamId'] === stream.body.id)).toBe(true);
      for (const { path, isSigned, ...payload } of receiver.received)
        expect([path, isSigned, payload]).toEqual([
          '/told',
          true,
          webhookPayload(payload.type).parse(payload),
        ]);

      const path = `/api/v1/webhooks/${made.body.id}`;
      const log = await waitFor('the delivery to be noted', async () => {
        const { body } = await api.call<{ deliveries: { type: string; state: string }[] }>(
          'GET',
          `${path}/deliveries`,
          { token },
        );
        return body.deliveries.every(({ state }) => state === 'delivered') && body.deliveries;
      });
      expect(log.map(({ type }) => type).toSorted()).toEqual(receiver.typesAt('/told').toSorted());
      const older = await api.call<{ nextCursor: string }>('GET', `${path}/deliveries?limit=1`, { token });
      expect(older.body.nextCursor).not.toBe(null);
    });

    it('is the tenant’s own, and its secret is shown once', async () => {
      await makeTenant('hooked');
      const { key: token } = await makeKey('hooked');
      const { key: ops } = await makeKey('hooked', ['ops']);
      const body = { url: receiver.url('/hooked'), events: ['stream.live'] };
      const { body: made } = await api.call<ApiWebhook>('POST', '/api/v1/webhooks', { body, token });
      const path = `/api/v1/webhooks/${made.id}`;
      for (const seen of [
        await api.call('GET', path, { token: ops }),
        await api.call('GET', '/api/v1/webhooks', { token: ops }),
        await api.call('PATCH', path, { body: { enabled: false }, token }),
      ]) {
        expect([seen.status, seen.text.includes(made.id)]).toEqual([200, true]);
        expect(seen.text).not.toContain(made.secret);
      }
      expect(await codeOf('DELETE', path, { token: ops })).toEqual([403, 'scope_missing']);
      for (const [method, suffix] of [
        ['GET', ''],
        ['GET', '/deliveries'],
        ['DELETE', ''],
      ] as const)
        expect(await codeOf(method, path + suffix, as('told'))).toEqual([404, 'webhook_not_found']);
      expect(await codeOf('POST', '/api/v1/webhooks', { body: { url: 'https://10.0.0.1/' }, token })).toEqual(
        [400, 'validation_failed'],
      );
      expect((await api.call('DELETE', path, { token })).status).toBe(204);
    });
  });

  it('limits the requests of each key, and says when to come again', async () => {
    const slow = await OriginUnderTest.start(
      { ORIGIN_API_REQUESTS_PER_SECOND: '1' },
      { database: postgres.open({}, await postgres.createDatabase()) },
    );
    const make = async () => {
      const body = { name: 'limited', scopes: ['streams:read'] };
      return (await slow.call<ApiKey>('POST', '/api/v1/api-keys', { body })).body.key;
    };
    const [one, two] = [await make(), await make()];
    const ask = (token: string) => slow.call<Problem>('GET', '/api/v1/streams', { token });
    const answers = await Promise.all(Array.from({ length: 40 }, () => ask(one)));
    const refused = answers.filter(({ status }) => status === 429);
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(5);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]?.body.code).toBe('rate_limited');
    expect(Number(refused[0]?.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect((await ask(two)).status).toBe(200);
    expect((await slow.call('GET', '/api/v1/streams')).status).toBe(200);
    const { text } = await slow.call('GET', '/metrics');
    expect(Number(/^origin_api_requests_limited_total(?:\{.*\})? (\d+)/m.exec(text)?.[1])).toBe(
      refused.length,
    );
    await slow.close();
  });

  it('has an OpenAPI document whose every operation has answered as it says', async () => {
    expect((await api.call('GET', '/api/v1/openapi.json', { token: null })).status).toBe(200);
    expect((await api.call('GET', '/api/v1/live', { token: null })).status).toBe(200);
    expect((await api.call('GET', '/api/v1/tenants/default')).status).toBe(200);
    expect(api.document.openapi).toBe('3.1.1');
    expect([...api.seen]).toEqual(expect.arrayContaining(api.successes));
  });
});
