import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { checkSteeringManifest } from '#protocol/steering/steering-manifest.ts';
import { systemClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { Database, DEFAULT_DATABASE_SETTINGS } from '#runtime/postgres/database.ts';
import { EmbeddedPostgres } from '#runtime/postgres/embedded-postgres.ts';
import { startRedis, type TestRedis } from '#tests/support/redis-server.ts';
import {
  reloadQuery,
  startSteeringNode,
  type SteeringNode,
  type SteeringNodeOptions,
} from '#tests/support/steering-node.ts';
import { hasNoPostgres } from '#tests/support/test-postgres.ts';
import { waitFor, within } from '#tests/support/wait-for.ts';

type Ready = { ready: boolean; degraded: boolean; checks: Record<string, { ok: boolean; detail: string }> };

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

/** A PostgreSQL that can be taken away and brought back on the same folder. */
async function database() {
  const folder = mkdtempSync(path.join(tmpdir(), 'steering-pg-'));
  const base = { clock: systemClock, logger: createLogger('test', 'silent') };
  const launch = () => EmbeddedPostgres.start({ folder }, { ...base, metrics: createMetrics('test') });
  let server: EmbeddedPostgres | undefined = await launch();
  const { target } = server;
  closing.push(async () => {
    await server?.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    connect: (): Database => {
      const settings = { ...DEFAULT_DATABASE_SETTINGS, connectionsMax: 3 };
      const connected = new Database(target, settings, { ...base, metrics: createMetrics('test') });
      closing.push(() => connected.close());
      return connected;
    },
    stop: async () => {
      await server?.close();
      server = undefined;
    },
    start: async () => {
      server = await launch();
    },
  };
}

async function redis(): Promise<TestRedis> {
  const server = await startRedis();
  closing.push(() => server.close());
  return server;
}

async function start(options: SteeringNodeOptions): Promise<SteeringNode> {
  const node = await startSteeringNode(options);
  closing.push(() => node.close());
  return node;
}

async function addCdns(node: SteeringNode, weights: Record<string, number>): Promise<void> {
  for (const [name, weight] of Object.entries(weights)) {
    const body = { name, weight, baseUrl: `https://${name}.example`, reason: 'a test' };
    expect((await node.call('POST', '/api/v1/cdns', body)).status).toBe(201);
  }
}

async function setWeight(node: SteeringNode, name: string, weight: number): Promise<Response> {
  const seen = await node.call('GET', `/api/v1/cdns/${name}`);
  const headers = { 'if-match': seen.headers.get('etag') ?? '' };
  return node.call('PATCH', `/api/v1/cdns/${name}`, { weight, reason: 'a test' }, headers);
}

const readiness = async (node: SteeringNode): Promise<Ready & { status: number }> => {
  const response = await fetch(`${node.steering.url}/readyz`);
  return { status: response.status, ...((await response.json()) as Ready) };
};

/** The lists of these sessions on a node, in one text. */
async function lists(node: SteeringNode, queries: readonly string[]): Promise<string> {
  const manifests = await Promise.all(queries.map((query) => node.ask('live', query)));
  return manifests.map((manifest) => manifest['PATHWAY-PRIORITY'].join()).join(' ');
}

async function sessions(node: SteeringNode, count: number): Promise<string[]> {
  return Promise.all(Array.from({ length: count }, async () => reloadQuery(await node.ask('live'))));
}

describe.skipIf(hasNoPostgres)('two steering nodes with one PostgreSQL and one Redis', () => {
  async function pair() {
    const [postgres, bus] = [await database(), await redis()];
    const env = { REDIS_URL: bus.url };
    const one = await start({ database: postgres.connect(), env });
    const two = await start({ database: postgres.connect(), env });
    await addCdns(one, { a: 50, b: 30, c: 20 });
    const queries = await sessions(one, 40);
    const agree = () =>
      waitFor(
        'both nodes to agree',
        async () => (await lists(one, queries)) === (await lists(two, queries)),
        {
          deadlineMs: 1_000,
        },
      );
    await agree();
    return { postgres, bus, one, two, queries, agree };
  }

  it('give the same session the same answer within a second of a change of weight', async () => {
    const { one, two, queries, agree } = await pair();
    const before = await lists(two, queries);
    expect((await setWeight(one, 'a', 0)).status).toBe(200);
    await waitFor('the other node', async () => (await lists(two, queries)) !== before, {
      deadlineMs: 1_000,
    });
    await agree();
    expect((await lists(two, queries)).split(' ').every((list) => list.endsWith(',a'))).toBe(true);
  });

  it('and of a change of health that only one of them sees', async () => {
    const { one, two, queries, agree } = await pair();
    for (const name of ['a', 'b', 'c']) {
      one.health.set(name, 1);
      two.health.set(name, 1);
    }
    two.health.set('b', 0);
    await waitFor('the other node', async () => !(await lists(one, queries)).includes('b'), {
      deadlineMs: 1_000,
    });
    await agree();
    const snapshots = await Promise.all(
      [one, two].map(async ({ steering }) =>
        (await fetch(`${steering.url}/steering/v1/snapshot`)).headers.get('etag'),
      ),
    );
    expect(snapshots[0]).toBe(snapshots[1]);
  });

  it('share one count of viewers', async () => {
    const { one, two } = await pair();
    await sessions(two, 60);
    type Status = { viewers: Record<string, number>; nodes: unknown[] };
    const status = await waitFor('the count', async () => {
      const body = (await (await one.call('GET', '/api/v1/status')).json()) as Status;
      const viewers = Object.values(body.viewers).reduce((sum, count) => sum + count, 0);
      return viewers >= 100 ? { ...body, sum: viewers } : undefined;
    });
    expect(status.nodes).toHaveLength(2);
    expect(status.sum).toBeLessThan(400);
  });

  it('go on when Redis is gone, still hear of changes by ops, and say so', async () => {
    const { bus, one, two, queries, agree } = await pair();
    await bus.kill();
    await waitFor('both to notice', async () => {
      const states = await Promise.all([readiness(one), readiness(two)]);
      return states.every(({ degraded, status }) => degraded && status === 200);
    });
    expect((await readiness(one)).checks['redis']).toEqual({ ok: false, detail: 'does not answer' });
    expect((await setWeight(one, 'a', 0)).status).toBe(200);
    await waitFor('the other node', async () => (await lists(two, queries)) === (await lists(one, queries)), {
      deadlineMs: 3_000,
    });
    one.health.set('b', 1);
    two.health.set('b', 0);
    await waitFor('two to follow its own view', async () => !(await lists(two, queries)).includes('b'));
    expect(await lists(one, queries)).toContain('b');
    await bus.start();
    await waitFor(
      'both to be whole',
      async () => !(await readiness(one)).degraded && !(await readiness(two)).degraded,
    );
    await waitFor('both to agree', async () => (await lists(one, queries)) === (await lists(two, queries)), {
      deadlineMs: 3_000,
    });
    await agree();
  });

  it('can be replaced one by one without any viewer noticing', async () => {
    const { postgres, bus, one, two, queries } = await pair();
    for (const { health } of [one, two])
      for (const name of ['a', 'b', 'c']) health.set(name, name === 'c' ? 0 : 1);
    await waitFor('c to be out', async () => !(await lists(one, queries)).includes('c'));
    const before = await lists(one, queries);
    await one.close();
    const three = await start({ database: postgres.connect(), env: { REDIS_URL: bus.url } });
    expect(await lists(three, queries)).toBe(before);
    expect(await lists(two, queries)).toBe(before);
  });
});

describe.skipIf(hasNoPostgres)('without PostgreSQL', () => {
  it('a node goes on with what it knows, says so, and writes again when it is back', async () => {
    const postgres = await database();
    const node = await start({ database: postgres.connect() });
    await addCdns(node, { a: 50, b: 50 });
    const queries = await sessions(node, 20);
    const before = await lists(node, queries);
    await postgres.stop();
    const refused = await setWeight(node, 'a', 0);
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '2']);
    expect(((await refused.json()) as { code: string }).code).toBe('database_unavailable');
    const degraded = await waitFor('the node to say so', async () => {
      const state = await readiness(node);
      return state.checks['registry']?.detail === 'last-known' ? state : undefined;
    });
    expect(degraded).toMatchObject({ status: 200, ready: true, degraded: true });
    expect(degraded.checks['postgres']).toEqual({ ok: false, detail: 'does not answer' });
    expect(await (await fetch(`${node.steering.url}/metrics`)).text()).toContain(
      'steering_registry_fresh{service="steering"} 0',
    );
    expect(await lists(node, queries)).toBe(before);
    expect((await node.call('GET', '/api/v1/cdns')).status).toBe(200);
    expect((await node.call('GET', '/api/v1/audit')).status).toBe(503);
    const dry = await node.call('PATCH', '/api/v1/cdns/a?dryRun=true', { weight: 0, reason: 'x' });
    expect(dry.status).toBe(200);
    await postgres.start();
    await waitFor('the node to be whole', async () => !(await readiness(node)).degraded);
    expect((await setWeight(node, 'a', 0)).status).toBe(200);
    expect((await lists(node, queries)).split(' ').every((list) => list === 'b,a')).toBe(true);
  });

  it('a node starts from its data folder, with its tokens and what was healthy', async () => {
    const postgres = await database();
    const dataDir = mkdtempSync(path.join(tmpdir(), 'steering-data-'));
    closing.push(() => rmSync(dataDir, { recursive: true, force: true }));
    const first = await start({ database: postgres.connect(), dataDir });
    await addCdns(first, { a: 50, b: 30, c: 20 });
    const made = await first.call('POST', '/api/v1/tokens', { name: 'eve', role: 'viewer', reason: 'x' });
    const { token } = (await made.json()) as { token: string };
    for (const name of ['a', 'b', 'c']) first.health.set(name, name === 'b' ? 0 : 1);
    const queries = await sessions(first, 20);
    await waitFor('b to be out', async () => !(await lists(first, queries)).includes('b'));
    const before = await lists(first, queries);
    await first.close();
    await postgres.stop();

    const second = await start({ database: postgres.connect(), dataDir });
    const authorization = `Bearer ${token}`;
    expect((await second.call('GET', '/api/v1/cdns', undefined, { authorization })).status).toBe(200);
    expect(await readiness(second)).toMatchObject({ ready: true, degraded: true });
    for (const name of ['a', 'b', 'c'])
      second.health.set(name, 1, { state: 'suspect', reasons: ['all_cdns_failing'] });
    await waitFor('what was held', async () => (await lists(second, queries)) === before);
    await postgres.start();
    await waitFor('the node to be whole', async () => !(await readiness(second)).degraded);
  });

  it('a node that has never known anything is not ready, and answers players all the same', async () => {
    const postgres = await database();
    await postgres.stop();
    const node = await start({ database: postgres.connect() });
    expect(await readiness(node)).toMatchObject({ status: 503, ready: false });
    const manifest = await node.ask('live', '_HLS_pathway=a');
    expect(checkSteeringManifest(manifest)).toEqual([]);
    expect(manifest['PATHWAY-PRIORITY']).toEqual(['.']);
    await postgres.start();
    await waitFor('the node to be ready', async () => (await readiness(node)).status === 200);
  });
});

describe.skipIf(hasNoPostgres)('a connection', () => {
  it('is not kept for a player that comes back in half a minute: a hundred thousand would not fit', async () => {
    const postgres = await database();
    const node = await start({ database: postgres.connect(), env: { STEERING_KEEP_ALIVE_S: '1' } });
    const socket = connect(node.steering.port, '127.0.0.1');
    closing.push(() => void socket.destroy());
    socket.resume();
    const ended = once(socket, 'end');
    socket.write('GET /steering/v1/live HTTP/1.1\r\nhost: steer.example\r\n\r\n');
    await within('the end of the idle connection', 5_000, ended);
    expect(socket.bytesRead).toBeGreaterThan(300);
  });
});

describe.skipIf(hasNoPostgres)('a node that stops', () => {
  it('gives its port back, and may be told twice', async () => {
    const postgres = await database();
    const node = await start({ database: postgres.connect() });
    await addCdns(node, { a: 1 });
    await Promise.all([node.close(), node.close()]);
    await expect(fetch(`${node.steering.url}/healthz`)).rejects.toThrow('fetch failed');
  });
});
