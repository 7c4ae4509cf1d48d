import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MemoryBus, MemoryBusHub } from '#runtime/bus/memory-bus.ts';
import { systemClock, type Clock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import type { Database } from '#runtime/postgres/database.ts';
import { hasNoPostgres, startTestPostgres, type TestPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';
import type { Actor } from '#steering/registry/actor.ts';
import { findBrokenLink, listAudit, type ChainedAuditEntry } from '#steering/registry/audit-log.ts';
import { cancelChange, createCdn, deleteCdn, orderChange } from '#steering/registry/cdn-changes.ts';
import { CDN_COUNT_MAX, CdnConfig, type Cdn, type CdnPatch } from '#steering/registry/cdn.ts';
import { LastKnownFile, type RegistryState } from '#steering/registry/last-known.ts';
import { PLANNED_CHANGES_MAX } from '#steering/registry/planned-change.ts';
import { Registry } from '#steering/registry/registry.ts';

const actor: Actor = { name: 'olga', role: 'operator', requestId: 'request-1' };
const config = (change: Partial<CdnConfig> = {}): CdnConfig =>
  CdnConfig.parse({ baseUrl: 'https://cdn.example', ...change });

describe.skipIf(hasNoPostgres)('the registry in PostgreSQL', () => {
  let postgres: TestPostgres;
  let admin: Database;
  let hub: MemoryBusHub;
  const open: { close(): Promise<void> }[] = [];

  beforeAll(async () => {
    postgres = await startTestPostgres();
    admin = postgres.open({ connectionsMax: 1 });
  });
  afterAll(() => postgres.close());
  beforeEach(async () => {
    hub = new MemoryBusHub();
    await admin.run(({ script }) => script('drop schema if exists steering cascade'));
  });
  afterEach(async () => {
    for (const thing of open.splice(0).toReversed()) await thing.close();
  });

  async function node(options: { lastKnown?: RegistryState; bus?: MemoryBus; clock?: Clock } = {}) {
    const bus = options.bus ?? new MemoryBus(hub);
    const database = postgres.open({ connectionsMax: 2 });
    open.push(database);
    const remembered: RegistryState[] = [];
    const registry = new Registry(options.lastKnown, {
      database,
      bus,
      clock: options.clock ?? systemClock,
      logger: createLogger('test', 'silent'),
      metrics: createMetrics('test'),
      remember: (state) => remembered.push(state),
    });
    await registry.start();
    open.push(registry);
    return { registry, bus, database, remembered };
  }

  const create = (registry: Registry, name: string, value = config()): Promise<{ value: { cdn: Cdn } }> =>
    registry.change(actor, undefined, async (t) => ({ cdn: await createCdn(t, actor, name, value, 'new') }));

  function order(
    registry: Registry,
    cdn: Cdn,
    patch: CdnPatch,
    more: { revertAfterS?: number; dueAt?: Date } = {},
  ) {
    const { revertAfterS = null, dueAt = null } = more;
    return registry.change(actor, undefined, (t) =>
      orderChange(t, actor, {
        name: cdn.name,
        patch,
        expectedGeneration: cdn.generation,
        reason: 'because',
        revertAfterS,
        dueAt,
      }),
    );
  }

  async function audit(): Promise<ChainedAuditEntry[]> {
    const all = { before: Number.MAX_SAFE_INTEGER, limit: 1_000, cdn: null };
    const rows = await admin.run(({ sql }) => listAudit(sql, all));
    return rows.toReversed();
  }

  it('shows a change on every node at once', async () => {
    const [one, two] = [await node(), await node()];
    const { value } = await create(one.registry, 'cdn-a');
    expect(one.registry.get('cdn-a')).toEqual(value.cdn);
    await waitFor('the other node', () => two.registry.get('cdn-a') !== undefined, { deadlineMs: 500 });
    expect(two.registry.list()).toEqual(one.registry.list());
    expect([one.registry.generation, two.registry.generation]).toEqual([1, 1]);
  });

  it('shows a change within a second or so to a node that hears nothing', async () => {
    const [one, two] = [await node(), await node({ bus: new MemoryBus() })];
    await create(one.registry, 'cdn-a');
    await waitFor('the deaf node', () => two.registry.get('cdn-a') !== undefined, { deadlineMs: 3_000 });
    expect(two.registry.generation).toBe(1);
  });

  it('lets only one of two operators change what both have seen', async () => {
    const [one, two] = [await node(), await node()];
    const { value } = await create(one.registry, 'cdn-a');
    const results = await Promise.allSettled([
      order(one.registry, value.cdn, { weight: 1 }),
      order(two.registry, value.cdn, { weight: 2 }),
    ]);
    const refused = results.filter((result) => result.status === 'rejected');
    expect(refused).toHaveLength(1);
    expect(refused[0]?.reason).toMatchObject({ status: 412, code: 'generation_mismatch' });
  });

  it('refuses a name twice, a CDN too many, and what is not there', async () => {
    const { registry } = await node();
    const { value } = await create(registry, 'cdn-a');
    await expect(create(registry, 'cdn-a')).rejects.toMatchObject({ status: 409, code: 'cdn_exists' });
    for (let i = 1; i < CDN_COUNT_MAX; i++) await create(registry, `more-${i}`);
    await expect(create(registry, 'too-many')).rejects.toMatchObject({ code: 'cdn_limit_reached' });
    const ghost = { ...value.cdn, name: 'ghost' };
    await expect(order(registry, ghost, {})).rejects.toMatchObject({ status: 404, code: 'cdn_not_found' });
  });

  it('deletes, with a new generation', async () => {
    const { registry } = await node();
    const { value } = await create(registry, 'cdn-a');
    await registry.change(actor, undefined, (t) =>
      deleteCdn(t, actor, { name: 'cdn-a', expectedGeneration: value.cdn.generation, reason: 'over' }),
    );
    expect([registry.list(), registry.generation]).toEqual([[], 2]);
  });

  it('does a request once, however often it comes', async () => {
    const { registry } = await node();
    const once = (fingerprint: string) =>
      registry.change(actor, { key: 'k1', fingerprint }, async (t) => ({
        cdn: await createCdn(t, actor, 'cdn-a', config(), 'new'),
      }));
    const first = await once('same');
    const second = await once('same');
    expect([first.replayed, second.replayed]).toEqual([false, true]);
    expect(second.value.cdn).toEqual(first.value.cdn);
    await expect(once('other')).rejects.toMatchObject({ status: 422, code: 'idempotency_key_reused' });
    expect(await audit()).toHaveLength(1);
  });

  describe('the audit', () => {
    it('is a chain that shows who did what, when and why', async () => {
      const { registry } = await node();
      const { value } = await create(registry, 'cdn-a');
      await order(registry, value.cdn, { weight: 7 });
      const entries = await audit();
      expect(entries.map((entry) => [entry.seq, entry.action, entry.actor, entry.reason])).toEqual([
        [1, 'cdn.created', 'olga', 'new'],
        [2, 'cdn.updated', 'olga', 'because'],
      ]);
      expect(entries[1]).toMatchObject({ before: { weight: 100 }, after: { weight: 7 }, generation: 2 });
      expect(entries[1]?.previousHash).toBe(entries[0]?.hash);
      expect(findBrokenLink(entries)).toBeUndefined();
      const forged = entries.map((entry) => (entry.seq === 1 ? { ...entry, actor: 'nobody' } : entry));
      expect(findBrokenLink(forged)).toBe(1);
      expect(findBrokenLink(entries.slice(0, 1).concat({ ...entries[1]!, seq: 3 }))).toBe(3);
    });

    it.each([
      'delete from steering.audit',
      `update steering.audit set entry = '{}'`,
      'truncate steering.audit',
    ])('cannot be changed: %s', async (statement) => {
      const { registry, database } = await node();
      await create(registry, 'cdn-a');
      await expect(database.run(({ script }) => script(statement))).rejects.toThrow(/only be added to/);
      expect(await audit()).toHaveLength(1);
    });

    it('holds nothing of a change that failed', async () => {
      const { registry } = await node();
      const { value } = await create(registry, 'cdn-a');
      const stale = { ...value.cdn, generation: 99 };
      await expect(order(registry, stale, { weight: 1 })).rejects.toMatchObject({ status: 412 });
      expect(await audit()).toHaveLength(1);
      expect(registry.get('cdn-a')?.weight).toBe(100);
    });
  });

  describe('a change for a time', () => {
    it('is taken back, once, by whichever node, and the audit says so', async () => {
      const [one, two] = [await node(), await node()];
      const { value } = await create(one.registry, 'cdn-a');
      const { value: changed } = await order(
        one.registry,
        value.cdn,
        { weight: 5, probe: { fall: 9 } },
        { revertAfterS: 1 },
      );
      expect(changed.planned).toMatchObject({ kind: 'revert', cdn: 'cdn-a' });
      expect(one.registry.changeDueWithin(30_000)).toBe(true);
      await waitFor('both to be back', () =>
        [one, two].every(({ registry }) => registry.get('cdn-a')?.weight === 100),
      );
      expect(one.registry.get('cdn-a')?.probe).toEqual({ enabled: true });
      const updates = (await audit()).filter(({ action }) => action === 'cdn.updated');
      expect(updates.map(({ reason }) => reason)).toEqual(['because', 'taking back: because']);
      expect(updates[1]).toMatchObject({ actor: 'olga', changeId: changed.planned?.id });
      expect(one.registry.plannedChanges).toEqual([]);
    });

    it('leaves alone what somebody has changed since', async () => {
      const { registry } = await node();
      const { value } = await create(registry, 'cdn-a');
      const { value: first } = await order(
        registry,
        value.cdn,
        { weight: 5, enabled: false },
        { revertAfterS: 1 },
      );
      await order(registry, first.cdn, { weight: 6 });
      await waitFor('the rest to be back', () => registry.get('cdn-a')?.enabled === true);
      expect(registry.get('cdn-a')?.weight).toBe(6);
    });

    it('ends as superseded when nothing of it is left, and as failed when the CDN has gone', async () => {
      const { registry } = await node();
      const { value } = await create(registry, 'cdn-a');
      const { value: first } = await order(registry, value.cdn, { weight: 5 }, { revertAfterS: 1 });
      await order(registry, first.cdn, { weight: 6 });
      const { value: other } = await create(registry, 'cdn-b');
      const { value: second } = await order(registry, other.cdn, { weight: 5 }, { revertAfterS: 1 });
      await registry.change(actor, undefined, (t) =>
        deleteCdn(t, actor, { name: 'cdn-b', expectedGeneration: second.cdn.generation, reason: 'over' }),
      );
      await waitFor('both to end', () => registry.plannedChanges.length === 0);
      const actions = (await audit()).map(({ action }) => action);
      expect(actions).toEqual(expect.arrayContaining(['change.superseded', 'change.failed']));
      expect(registry.get('cdn-a')?.weight).toBe(6);
    });

    it('survives a restart of every node', async () => {
      const first = await node();
      const { value } = await create(first.registry, 'cdn-a');
      await order(first.registry, value.cdn, { weight: 5 }, { revertAfterS: 1 });
      await first.registry.close();
      const second = await node();
      await waitFor('the weight to be back', () => second.registry.get('cdn-a')?.weight === 100);
      expect(second.registry.generation).toBe(3);
    });
  });

  describe('a change for later', () => {
    it('is made when it is due, not before, exactly once among three nodes', async () => {
      const nodes = [await node(), await node(), await node()];
      const { registry } = nodes[0]!;
      const { value } = await create(registry, 'cdn-a');
      const { value: ordered } = await order(
        registry,
        value.cdn,
        { weight: 0 },
        { dueAt: new Date(Date.now() + 1_500) },
      );
      expect(ordered.cdn.weight).toBe(100);
      await waitFor('all to have it', () => nodes.every((n) => n.registry.get('cdn-a')?.weight === 0));
      const entries = await audit();
      expect(entries.map(({ action }) => action)).toEqual(['cdn.created', 'change.scheduled', 'cdn.updated']);
      expect(Date.parse(entries[2]?.at ?? '')).toBeGreaterThanOrEqual(ordered.planned?.dueAtMs ?? Infinity);
      expect(registry.generation).toBe(2);
    });

    it.each([-3_600_000, 3_600_000])('is made in time by a node whose clock is %d ms off', async (offMs) => {
      const clock = { ...systemClock, nowMs: () => Date.now() + offMs };
      const { registry } = await node({ clock });
      const { value } = await create(registry, 'cdn-a');
      const startMs = Date.now();
      await order(registry, value.cdn, { weight: 0 }, { dueAt: new Date(startMs + 1_500) });
      await waitFor('it to be made', () => registry.get('cdn-a')?.weight === 0, { deadlineMs: 5_000 });
      expect(Date.now() - startMs).toBeGreaterThanOrEqual(1_500);
    });

    it('can be for a time as well', async () => {
      const { registry } = await node();
      const { value } = await create(registry, 'cdn-a');
      await order(registry, value.cdn, { weight: 0 }, { dueAt: new Date(Date.now() + 100), revertAfterS: 1 });
      await waitFor('it to begin', () => registry.get('cdn-a')?.weight === 0);
      await waitFor('it to end', () => registry.get('cdn-a')?.weight === 100);
      expect(registry.generation).toBe(3);
    });

    it('can be cancelled, once', async () => {
      const { registry } = await node();
      const { value } = await create(registry, 'cdn-a');
      const dueAt = new Date(Date.now() + 60_000);
      const { value: ordered } = await order(registry, value.cdn, { weight: 0 }, { dueAt });
      const id = ordered.planned?.id ?? '';
      const cancel = () =>
        registry.change(actor, undefined, (t) => cancelChange(t, actor, id, 'no longer needed'));
      await cancel();
      expect(registry.plannedChanges).toEqual([]);
      await expect(cancel()).rejects.toMatchObject({ status: 404, code: 'change_not_found' });
    });

    it('is refused when too many wait', async () => {
      const { registry } = await node();
      const { value } = await create(registry, 'cdn-a');
      const dueAt = new Date(Date.now() + 3_600_000);
      await registry.change(actor, undefined, async (t) => {
        for (let i = 0; i < PLANNED_CHANGES_MAX; i++)
          await orderChange(t, actor, {
            name: 'cdn-a',
            patch: { weight: i },
            expectedGeneration: value.cdn.generation,
            reason: 'many',
            revertAfterS: null,
            dueAt,
          });
        return {};
      });
      const oneMore = order(registry, value.cdn, { weight: 1 }, { dueAt });
      await expect(oneMore).rejects.toMatchObject({ status: 409, code: 'change_limit_reached' });
    });
  });

  it('leaves out a row that it cannot read, and keeps the others', async () => {
    const { registry, database } = await node();
    await create(registry, 'cdn-a');
    await create(registry, 'cdn-b');
    await database.run(
      ({ sql }) => sql`update steering.cdns set config = '{"weight": "heavy"}' where name = 'cdn-b'`,
    );
    const fresh = await node();
    expect(fresh.registry.list().map(({ name }) => name)).toEqual(['cdn-a']);
  });

  it('starts from what it knew last while PostgreSQL is away, and comes back by itself', async () => {
    const first = await node();
    await create(first.registry, 'cdn-a');
    const lastKnown = first.remembered.at(-1);
    if (lastKnown === undefined) throw new Error('nothing was remembered');
    const away = postgres.open();
    await away.close();
    const registry = new Registry(lastKnown, {
      database: away,
      bus: new MemoryBus(hub),
      clock: systemClock,
      logger: createLogger('test', 'silent'),
      metrics: createMetrics('test'),
      remember: () => undefined,
    });
    await registry.start();
    open.push(registry);
    expect(registry.source).toBe('last-known');
    expect(registry.get('cdn-a')?.weight).toBe(100);
    await expect(create(registry, 'cdn-b')).rejects.toMatchObject({ code: 'database_unavailable' });
  });

  it('remembers on disk, and starts without what it cannot read', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'last-known-'));
    const { registry, remembered } = await node();
    await create(registry, `cdn-${randomUUID().slice(0, 8)}`);
    const state = remembered.at(-1)!;
    const file = new LastKnownFile(folder, { logger: createLogger('test', 'silent') });
    expect(await file.read()).toBeUndefined();
    await Promise.all([1, 2, 3].map((n) => file.save({ registry: state, heldHealth: { a: n / 10 } }, n)));
    expect(await file.read()).toMatchObject({ registry: state, heldHealth: { a: 0.3 }, savedAtMs: 3 });
    writeFileSync(path.join(folder, 'steering-last-known.json'), '{"version":1,');
    expect(await file.read()).toBeUndefined();
    rmSync(folder, { recursive: true });
  });
});
