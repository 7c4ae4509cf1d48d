import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { JSON_BODY_BYTES_MAX } from '#runtime/http/json-body.ts';
import type { Database } from '#runtime/postgres/database.ts';
import { findBrokenLink, type ChainedAuditEntry } from '#steering/registry/audit-log.ts';
import { startSteeringNode, type SteeringNode } from '#tests/support/steering-node.ts';
import { hasNoPostgres, startTestPostgres, type TestPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

type Body = Record<string, unknown> & { code?: string; errors?: { field: string; message: string }[] };
const CDN = { name: 'cdn-a', baseUrl: 'https://a.example', reason: 'a new contract' };

describe.skipIf(hasNoPostgres)('the ops API', () => {
  let postgres: TestPostgres;
  let database: Database;
  let node: SteeringNode;

  beforeAll(async () => {
    postgres = await startTestPostgres();
    database = postgres.open();
    node = await startSteeringNode({ database });
  });
  afterAll(async () => {
    await node.close();
    await postgres.close();
  });
  beforeEach(async () => {
    await database.run(async ({ sql }) => {
      await sql`delete from steering.cdns`;
      await sql`delete from steering.changes`;
      await sql`delete from steering.access_tokens`;
      await sql`delete from steering.idempotency_keys`;
      await sql`update steering.registry set revision = revision + 1, generation = generation + 1`;
    });
    await waitFor('an empty registry', async () => {
      const { cdns } = await json(await node.call('GET', '/api/v1/cdns'));
      const { tokens } = await json(await node.call('GET', '/api/v1/tokens'));
      return (cdns as unknown[]).length === 0 && (tokens as unknown[]).length === 0;
    });
  });

  const json = async (response: Response): Promise<Body> => (await response.json()) as Body;
  const create = async (body: Record<string, unknown> = CDN): Promise<{ etag: string; body: Body }> => {
    const response = await node.call('POST', '/api/v1/cdns', body);
    expect(response.status).toBe(201);
    return { etag: response.headers.get('etag') ?? '', body: await json(response) };
  };
  const patch = (body: unknown, headers: Record<string, string> = {}, query = '') =>
    node.call('PATCH', `/api/v1/cdns/cdn-a${query}`, body, headers);
  async function tokenOf(role: string, more: Record<string, unknown> = {}) {
    const body = { name: `the-${role}`, role, reason: 'for a test', ...more };
    const response = await node.call('POST', '/api/v1/tokens', body);
    expect(response.status).toBe(201);
    const { id, token } = (await response.json()) as { id: string; token: string };
    return { id, token, headers: { authorization: `Bearer ${token}` } };
  }
  async function refusal(response: Promise<Response>): Promise<[number, string | undefined]> {
    const answer = await response;
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    return [answer.status, (await json(answer)).code];
  }

  it('creates, lists, reads, changes and deletes a CDN', async () => {
    const { etag, body } = await create({ ...CDN, weight: 40, regions: { countries: ['DE'] } });
    expect(body).toMatchObject({
      name: 'cdn-a',
      weight: 40,
      enabled: true,
      regions: { countries: ['DE'], asns: [] },
      status: { expectedShare: 1, effectiveWeight: 40, health: { state: 'unknown' } },
    });
    const read = await node.call('GET', '/api/v1/cdns/cdn-a');
    expect([read.status, read.headers.get('etag'), await json(read)]).toEqual([200, etag, body]);
    const changed = await patch({ weight: 0, reason: 'maintenance' }, { 'if-match': etag });
    expect([changed.status, (await json(changed))['weight']]).toEqual([200, 0]);
    const list = await json(await node.call('GET', '/api/v1/cdns'));
    expect(list['cdns']).toMatchObject([{ name: 'cdn-a', weight: 0 }]);
    const newEtag = changed.headers.get('etag') ?? '';
    expect(newEtag).not.toBe(etag);
    const gone = await node.call('DELETE', '/api/v1/cdns/cdn-a?reason=over', undefined, {
      'if-match': newEtag,
    });
    expect([gone.status, await gone.text()]).toEqual([204, '']);
    expect((await node.call('GET', '/api/v1/cdns/cdn-a')).status).toBe(404);
  });

  it('is never cached, and says nothing to browsers of others', async () => {
    const response = await node.call('GET', '/api/v1/cdns');
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
    expect(response.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });

  describe('refuses', () => {
    it.each([
      ['no token', {}, 'Bearer realm="steering"'],
      ['another token', { authorization: 'Bearer wrong' }, 'Bearer realm="steering", error="invalid_token"'],
      ['another scheme', { authorization: 'Basic abc' }, 'Bearer realm="steering"'],
    ])('%s with 401', async (_name, headers, challenge) => {
      const response = await node.call('GET', '/api/v1/cdns', undefined, {
        authorization: '',
        ...headers,
      });
      expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, challenge]);
    });

    it('what a role may not do with 403', async () => {
      const { etag } = await create();
      const viewer = await tokenOf('viewer');
      const operator = await tokenOf('operator');
      expect((await node.call('GET', '/api/v1/cdns', undefined, viewer.headers)).status).toBe(200);
      expect((await node.call('GET', '/api/v1/audit', undefined, viewer.headers)).status).toBe(200);
      const change = { weight: 1, reason: 'x' };
      expect(await refusal(patch(change, { 'if-match': etag, ...viewer.headers }))).toEqual([
        403,
        'forbidden',
      ]);
      expect(await refusal(patch(change, viewer.headers, '?dryRun=true'))).toEqual([403, 'forbidden']);
      const remove = node.call('DELETE', '/api/v1/cdns/cdn-a?reason=x', undefined, viewer.headers);
      expect(await refusal(remove)).toEqual([403, 'forbidden']);
      const tokens = node.call('GET', '/api/v1/tokens', undefined, operator.headers);
      expect(await refusal(tokens)).toEqual([403, 'forbidden']);
      expect((await patch(change, { 'if-match': etag, ...operator.headers })).status).toBe(200);
    });

    it.each([
      ['no name', { name: undefined }, 'name'],
      ['a name of dots', { name: '...' }, 'name'],
      ['a name with a quote', { name: 'a"b' }, 'name'],
      ['no reason', { reason: undefined }, 'reason'],
      ['an empty reason', { reason: '  ' }, 'reason'],
      ['a reason with control characters', { reason: 'a\u0000b' }, 'reason'],
      ['a weight below 0', { weight: -1 }, 'weight'],
      ['a weight above 1000', { weight: 1001 }, 'weight'],
      ['half a weight', { weight: 0.5 }, 'weight'],
      ['a URL that is none', { baseUrl: 'ftp://a.example' }, 'baseUrl'],
      ['a URL with credentials', { baseUrl: 'https://u:p@a.example' }, 'baseUrl'],
      ['a URL with a query', { baseUrl: 'https://a.example?x' }, 'baseUrl'],
      ['a country that is none', { regions: { countries: ['de'] } }, 'regions.countries.0'],
      ['a capacity of 0', { capacity: { viewersMax: 0 } }, 'capacity.viewersMax'],
      ['a field that is none', { wieght: 5 }, 'wieght'],
    ])('%s with 400 and the field', async (_name, change, field) => {
      const response = await node.call('POST', '/api/v1/cdns', { ...CDN, ...change });
      const body = await json(response);
      expect([response.status, body.code, body.errors?.[0]?.field]).toEqual([
        400,
        'validation_failed',
        field,
      ]);
    });

    it('bodies that are not what they must be', async () => {
      const post = (body: string, headers: Record<string, string> = {}) =>
        refusal(node.call('POST', '/api/v1/cdns', body, headers));
      expect(await post('{"name":')).toEqual([400, 'json_invalid']);
      expect(await post('[]')).toEqual([400, 'validation_failed']);
      expect(await post('{}', { 'content-type': 'text/plain' })).toEqual([415, 'content_type_unsupported']);
      expect(await post(`"${'x'.repeat(JSON_BODY_BYTES_MAX)}"`)).toEqual([413, 'body_too_large']);
    });

    it('a change of what has been changed meanwhile, or without saying what was seen', async () => {
      const { etag } = await create();
      const change = { weight: 1, reason: 'x' };
      expect(await refusal(patch(change))).toEqual([428, 'precondition_required']);
      expect(await refusal(patch(change, { 'if-match': '*' }))).toEqual([428, 'precondition_required']);
      expect(await refusal(patch(change, { 'if-match': '"0"' }))).toEqual([412, 'generation_mismatch']);
      expect(await refusal(patch(change, { 'if-match': 'W/"1"' }))).toEqual([412, 'generation_mismatch']);
      expect((await patch(change, { 'if-match': etag })).status).toBe(200);
      expect(await refusal(patch(change, { 'if-match': etag }))).toEqual([412, 'generation_mismatch']);
      const remove = (query: string, headers = {}) =>
        refusal(node.call('DELETE', `/api/v1/cdns/cdn-a${query}`, undefined, headers));
      expect(await remove('?reason=x')).toEqual([428, 'precondition_required']);
      expect(await remove('', { 'if-match': etag })).toEqual([400, 'validation_failed']);
      expect(await remove('?reason=x', { 'if-match': etag })).toEqual([412, 'generation_mismatch']);
    });

    it('what makes no sense in a change', async () => {
      const { etag } = await create();
      const send = (body: unknown) => refusal(patch(body, { 'if-match': etag }));
      const invalid = [400, 'validation_failed'];
      expect(await send({ reason: 'nothing' })).toEqual(invalid);
      expect(await send({ weight: 1, reason: 'x', revertAfter: 1 })).toEqual(invalid);
      expect(await send({ weight: 1, reason: 'x', schedule: 'tomorrow' })).toEqual(invalid);
      expect(await send({ weight: 1, reason: 'x', schedule: '2020-01-01T00:00:00Z' })).toEqual(invalid);
      expect(await send({ weight: 1, reason: 'x', schedule: '2999-01-01T00:00:00Z' })).toEqual(invalid);
      expect(await send({ name: 'other', reason: 'x' })).toEqual(invalid);
      const query = node.call('GET', '/api/v1/audit?limit=0');
      expect(await refusal(query)).toEqual(invalid);
      expect(await refusal(node.call('GET', '/api/v1/audit?since=1'))).toEqual(invalid);
      expect(await refusal(patch({ weight: 1, reason: 'x' }, {}, '?dryRun=maybe'))).toEqual(invalid);
    });

    it('what is not there, and methods that do nothing', async () => {
      expect(await refusal(node.call('GET', '/api/v1/cdns/ghost'))).toEqual([404, 'cdn_not_found']);
      expect(await refusal(node.call('GET', '/api/v1/cdns/a%22b'))).toEqual([404, 'cdn_not_found']);
      expect(await refusal(node.call('GET', '/api/v1/nothing'))).toEqual([404, 'not_found']);
      const change = patch({ weight: 1, reason: 'x' }, { 'if-match': '"1"' });
      expect(await refusal(change)).toEqual([404, 'cdn_not_found']);
      expect(await refusal(node.call('DELETE', '/api/v1/changes/x?reason=x'))).toEqual([
        404,
        'change_not_found',
      ]);
      expect(await refusal(node.call('DELETE', '/api/v1/tokens/x?reason=x'))).toEqual([
        404,
        'token_not_found',
      ]);
      const put = await node.call('PUT', '/api/v1/cdns/cdn-a', {});
      expect([put.status, put.headers.get('allow')]).toEqual([405, 'GET, PATCH, DELETE, HEAD, OPTIONS']);
    });

    it('a name twice', async () => {
      await create();
      expect(await refusal(node.call('POST', '/api/v1/cdns', CDN))).toEqual([409, 'cdn_exists']);
    });
  });

  it('carries out a request with an Idempotency-Key once', async () => {
    const once = (body: unknown) => node.call('POST', '/api/v1/cdns', body, { 'idempotency-key': '"abc"' });
    const [first, second] = [await once(CDN), await once(CDN)];
    expect([first.status, second.status]).toEqual([201, 201]);
    expect(second.headers.get('idempotency-replayed')).toBe('true');
    expect((await json(second))['generation']).toBe((await json(first))['generation']);
    expect(await refusal(once({ ...CDN, weight: 1 }))).toEqual([422, 'idempotency_key_reused']);
    const change = { weight: 3, reason: 'x' };
    const headers = { 'if-match': first.headers.get('etag') ?? '', 'idempotency-key': 'def' };
    expect([(await patch(change, headers)).status, (await patch(change, headers)).status]).toEqual([
      200, 200,
    ]);
    const bad = node.call('POST', '/api/v1/cdns', CDN, { 'idempotency-key': 'x'.repeat(256) });
    expect(await refusal(bad)).toEqual([400, 'validation_failed']);
  });

  it('tells in a dry-run who would move where, and changes nothing', async () => {
    for (const [name, weight] of [
      ['cdn-a', 50],
      ['cdn-b', 30],
      ['cdn-c', 20],
    ] as const)
      await create({ ...CDN, name, weight });
    for (let i = 0; i < 50; i++) await node.ask('live');
    const dry = await json(await patch({ weight: 0, reason: 'x' }, {}, '?dryRun=true'));
    expect(dry).toMatchObject({ dryRun: true, sessions: 10_000 });
    expect(dry['sampled']).toBeGreaterThanOrEqual(50);
    expect(Math.abs((dry['movedShare'] as number) - 0.5)).toBeLessThan(0.02);
    const movements = dry['movements'] as { from: string; to: string; share: number; viewers: number }[];
    expect(movements.map(({ from, to }) => `${from}>${to}`)).toEqual(['cdn-a>cdn-b', 'cdn-a>cdn-c']);
    expect(Math.abs((movements[0]?.share ?? 0) - 0.3)).toBeLessThan(0.02);
    expect((dry['after'] as Record<string, number>)['cdn-a']).toBeUndefined();
    expect((await json(await node.call('GET', '/api/v1/cdns/cdn-a')))['weight']).toBe(50);

    const added = await node.call('POST', '/api/v1/cdns?dryRun=true', { ...CDN, name: 'new', weight: 100 });
    expect(added.status).toBe(200);
    expect(Math.abs(((await json(added))['movedShare'] as number) - 0.5)).toBeLessThan(0.02);
    const removed = await node.call('DELETE', '/api/v1/cdns/cdn-c?dryRun=true&reason=x');
    expect(Math.abs(((await json(removed))['movedShare'] as number) - 0.2)).toBeLessThan(0.02);
    expect(await refusal(node.call('DELETE', '/api/v1/cdns/ghost?dryRun=true&reason=x'))).toEqual([
      404,
      'cdn_not_found',
    ]);
  });

  it('runs no more than two dry-runs at a time', async () => {
    await create();
    const statuses = await Promise.all(
      Array.from({ length: 12 }, async () => {
        const response = await patch({ weight: 1, reason: 'x' }, {}, '?dryRun=true');
        return [response.status, response.headers.get('retry-after')].join();
      }),
    );
    expect(new Set(statuses)).toEqual(new Set(['200,', '503,1']));
  });

  it('schedules, lists and cancels changes', async () => {
    const { etag } = await create();
    const schedule = new Date(Date.now() + 3_600_000).toISOString();
    const ordered = await patch(
      { weight: 0, reason: 'tonight', schedule, revertAfter: 600 },
      { 'if-match': etag },
    );
    expect(ordered.status).toBe(202);
    const body = await json(ordered);
    expect(body).toMatchObject({
      weight: 100,
      planned: { kind: 'scheduled', cdn: 'cdn-a', dueAt: schedule },
    });
    const { changes } = (await json(await node.call('GET', '/api/v1/changes'))) as { changes: Body[] };
    expect(changes).toMatchObject([{ reason: 'tonight', patch: { weight: 0 }, revertAfter: 600 }]);
    const path = `/api/v1/changes/${String(changes[0]?.['id'])}?reason=moved`;
    expect((await node.call('DELETE', path)).status).toBe(204);
    expect(await refusal(node.call('DELETE', path))).toEqual([404, 'change_not_found']);
  });

  it('shows the audit in pages, newest first, as a chain that can be checked', async () => {
    const { etag } = await create();
    await patch({ weight: 1, reason: 'one' }, { 'if-match': etag, 'x-request-id': 'my-request' });
    await create({ ...CDN, name: 'cdn-b' });
    const entries: ChainedAuditEntry[] = [];
    let cursor: string | null = '';
    for (let page = 0; cursor !== null && page < 500; page++) {
      const query: string = cursor === '' ? '' : `&cursor=${cursor}`;
      const body = await json(await node.call('GET', `/api/v1/audit?limit=2${query}`));
      entries.push(...(body['entries'] as ChainedAuditEntry[]));
      cursor = body['nextCursor'] as string | null;
    }
    expect(entries[0]).toMatchObject({ action: 'cdn.created', cdn: 'cdn-b', role: 'admin' });
    expect(entries[1]).toMatchObject({ reason: 'one', requestId: 'my-request', after: { weight: 1 } });
    const oldestFirst = entries.toReversed();
    expect(oldestFirst.map(({ seq }) => seq)).toEqual(oldestFirst.map((_, i) => i + 1));
    expect(findBrokenLink(oldestFirst)).toBeUndefined();
    const ofB = await json(await node.call('GET', '/api/v1/audit?cdn=cdn-b&limit=1'));
    expect(ofB['entries']).toMatchObject([{ cdn: 'cdn-b' }]);
  });

  describe('access tokens', () => {
    it('are shown once, kept as hashes, and end when they are revoked', async () => {
      const { id, token, headers } = await tokenOf('operator');
      expect((await node.call('GET', '/api/v1/cdns', undefined, headers)).status).toBe(200);
      const stored = await database.run(({ sql }) => sql`select * from steering.access_tokens`);
      expect(JSON.stringify(stored)).not.toContain(token);
      const listed = JSON.stringify(await json(await node.call('GET', '/api/v1/tokens')));
      expect(listed).toContain('the-operator');
      expect(listed).not.toContain(token);
      expect((await node.call('DELETE', `/api/v1/tokens/${id}?reason=left`)).status).toBe(204);
      expect((await node.call('GET', '/api/v1/cdns', undefined, headers)).status).toBe(401);
      const audit = JSON.stringify(await json(await node.call('GET', '/api/v1/audit?limit=2')));
      expect(audit).toContain('token.revoked');
      expect(audit).not.toContain(token);
    });

    it('have names of their own, and make changes in that name', async () => {
      const { headers } = await tokenOf('operator');
      const twice = node.call('POST', '/api/v1/tokens', {
        name: 'the-operator',
        role: 'viewer',
        reason: 'x',
      });
      expect(await refusal(twice)).toEqual([409, 'token_exists']);
      expect((await node.call('POST', '/api/v1/cdns', CDN, headers)).status).toBe(201);
      const { entries } = await json(await node.call('GET', '/api/v1/audit?limit=1'));
      expect(entries).toMatchObject([{ actor: 'the-operator', role: 'operator' }]);
    });

    it('can expire', async () => {
      const { headers } = await tokenOf('viewer', { expiresIn: 60 });
      expect((await node.call('GET', '/api/v1/cdns', undefined, headers)).status).toBe(200);
      await database.run(async ({ sql }) => {
        await sql`update steering.access_tokens set expires_at = now() - interval '1 second'`;
        await sql`update steering.registry set revision = revision + 1`;
      });
      await waitFor('the token to end', async () => {
        return (await node.call('GET', '/api/v1/cdns', undefined, headers)).status === 401;
      });
      expect((await node.call('GET', '/api/v1/cdns')).status).toBe(200);
    });
  });

  it('shows the health of a CDN as this node and the others see it', async () => {
    await create();
    node.health.set('cdn-a', 0.4, { reasons: ['slow_first_byte'] });
    const body = await waitFor('the picture to have it', async () => {
      const answer = await json(await node.call('GET', '/api/v1/cdns/cdn-a/health'));
      return (answer['agreed'] as Body)['factor'] === 0.4 ? answer : undefined;
    });
    expect(body).toMatchObject({
      name: 'cdn-a',
      agreed: { factor: 0.4, state: 'ramping' },
      here: { factor: 0.4, reasons: ['slow_first_byte'] },
      nodes: [{ factor: 0.4 }],
    });
    const status = await json(await node.call('GET', '/api/v1/status'));
    expect(status).toMatchObject({ registry: { source: 'database' }, panic: false });
    node.health.set('cdn-a', 1);
  });

  it('gives the edge a snapshot that it need not fetch again while nothing changes', async () => {
    await create();
    const first = await fetch(`${node.steering.url}/steering/v1/snapshot`);
    const etag = first.headers.get('etag') ?? '';
    expect(first.headers.get('cache-control')).toBe('public, max-age=1');
    expect(await json(first)).toMatchObject({ version: 1, cdns: [{ name: 'cdn-a', weight: 100 }] });
    const again = (tag: string) =>
      fetch(`${node.steering.url}/steering/v1/snapshot`, { headers: { 'if-none-match': tag } });
    expect([(await again(etag)).status, (await again(`W/${etag}, "x"`)).status]).toEqual([304, 304]);
    expect((await again('"other"')).status).toBe(200);
    await create({ ...CDN, name: 'cdn-b' });
    expect((await again(etag)).status).toBe(200);
  });

  it('answers for its own health and figures', async () => {
    await node.ask('live', '_HLS_pathway=cdn-a');
    expect((await node.call('GET', '/healthz')).status).toBe(200);
    expect(await json(await node.call('GET', '/readyz'))).toMatchObject({ ready: true, degraded: false });
    const metrics = await (await node.call('GET', '/metrics')).text();
    expect(metrics).toContain('steering_answers_total{token="absent",service="steering"}');
    expect(metrics).toMatch(/steering_registry_fresh\{service="steering"\} 1/);
  });
});
