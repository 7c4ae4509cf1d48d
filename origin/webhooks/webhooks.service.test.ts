import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics, type Metrics } from '#runtime/metrics.ts';
import { TargetGuard } from '#runtime/outbound/target-guard.ts';
import type { Database } from '#runtime/postgres/database.ts';
import { openRegistry, type Registry } from '#origin/registry/open-registry.ts';
import { DEFAULT_TENANT_ID } from '#origin/registry/tenants-table.ts';
import {
  DEFAULT_DISPATCHER_SETTINGS,
  DeliveryDispatcher,
  type DispatcherSettings,
} from '#origin/webhooks/delivery-dispatcher.ts';
import { claimDeliveries, listDeliveries, reportAttempt } from '#origin/webhooks/deliveries-table.ts';
import { EventOutbox } from '#origin/webhooks/event-outbox.ts';
import { EventSweep } from '#origin/webhooks/event-sweep.ts';
import {
  findReadyRecordings,
  findSilentEnds,
  PENDING_DELIVERIES_MAX,
  storeEvent,
} from '#origin/webhooks/events-table.ts';
import { WebhookReceiver } from '#origin/webhooks/testing/webhook-receiver.ts';
import type { WebhookEvent } from '#origin/webhooks/webhook-event.ts';
import { WebhookMetrics } from '#origin/webhooks/webhook-metrics.ts';
import { WEBHOOKS_MAX, WebhookRegistry } from '#origin/webhooks/webhook-registry.ts';
import { WebhookSender } from '#origin/webhooks/webhook-sender.ts';
import type { WebhookRecord } from '#origin/webhooks/webhooks-table.ts';
import { hasNoPostgres, startTestPostgres, type TestPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

const actor = { tenantId: DEFAULT_TENANT_ID, name: 'test', requestId: 'test' };
const logger = createLogger('test', 'silent');
const FAST: DispatcherSettings = { ...DEFAULT_DISPATCHER_SETTINGS, pollMs: 20, pausesMs: [10, 10] };

const makeEvent = (changes: Partial<WebhookEvent> = {}): WebhookEvent => ({
  type: 'stream.live',
  tenantId: DEFAULT_TENANT_ID,
  streamId: 'stream',
  atMs: Date.now(),
  occurrence: `live ${randomUUID()}`,
  data: { streamId: 'stream', name: 'Stream', sessionId: randomUUID() },
  ...changes,
});

describe.skipIf(hasNoPostgres)('webhooks', () => {
  let postgres: TestPostgres;
  let database: Database;
  let registry: Registry;
  let webhooks: WebhookRegistry;
  let receiver: WebhookReceiver;
  let metrics: Metrics;
  let counted: WebhookMetrics;

  beforeAll(async () => {
    postgres = await startTestPostgres();
    receiver = await WebhookReceiver.start();
  });
  afterAll(async () => {
    await receiver.close();
    await postgres.close();
  });
  beforeEach(async () => {
    database = postgres.open({}, await postgres.createDatabase());
    const settings = { streamsMax: 100, pepper: Buffer.alloc(32, 7) };
    registry = await openRegistry(settings, { database, clock: systemClock, logger });
    webhooks = new WebhookRegistry(registry.changes, new TargetGuard([receiver.host]));
    receiver.received.length = 0;
    receiver.statusOf = () => 204;
    metrics = createMetrics('origin');
    counted = new WebhookMetrics(metrics);
  });
  afterEach(async () => {
    await closeAll();
    await database.close();
  });

  const hook = async (path: string, changes: Partial<WebhookRecord> = {}): Promise<WebhookRecord> => {
    const settings = {
      url: receiver.url(path),
      events: ['stream.live', 'stream.failover', 'recording.ready'] as const,
      enabled: true,
    };
    const { result } = await webhooks.create(actor, { ...settings, ...changes });
    receiver.secrets.set(path, result.secret);
    return result.webhook;
  };
  const store = (event: WebhookEvent, origin = 'one') =>
    database.transaction(({ sql }) => storeEvent(sql, event, origin));
  const deliveries = (webhook: WebhookRecord) =>
    database.run(({ sql }) => listDeliveries(sql, webhook.id, 100, undefined));
  const open: { close: () => Promise<void> }[] = [];
  const dispatch = (settings: DispatcherSettings = FAST): DeliveryDispatcher => {
    const guard = new TargetGuard([receiver.host]);
    const resolve = () => Promise.reject(new Error('no name is to be looked up'));
    const sender = new WebhookSender({ clock: systemClock, guard, resolve });
    const dispatcher = new DeliveryDispatcher(settings, {
      ...registry.changes,
      sender,
      logger,
      metrics: counted,
    });
    open.push(dispatcher);
    return dispatcher;
  };
  const closeAll = async (): Promise<void> => {
    await Promise.all(open.splice(0).map((dispatcher) => dispatcher.close()));
  };
  const valueOf = async (name: string, labels: object): Promise<number> => {
    const values = (await metrics.getSingleMetric(name)?.get())?.values ?? [];
    return values.find((value) => JSON.stringify(value.labels) === JSON.stringify(labels))?.value ?? 0;
  };

  it('tell those of the tenant who want to know, once, and nobody else', async () => {
    const other = { ...actor, tenantId: 'other' };
    await registry.tenants.create(actor, 'other', { name: 'other', streamsMax: null, liveMax: null });
    await hook('/both');
    await hook('/recordings', { events: ['recording.ready'] });
    await hook('/disabled', { enabled: false });
    await webhooks.create(other, {
      url: receiver.url('/other'),
      events: ['stream.live'],
      enabled: true,
    });
    const event = makeEvent();
    expect(await store(event)).toEqual({ begun: 1, dropped: 0 });
    expect(await store(event)).toEqual({ begun: 0, dropped: 0 });
    dispatch();
    await waitFor('the event', () => receiver.received.length === 1);
    await store(makeEvent({ type: 'recording.ready' }));
    await waitFor('the next one', () => receiver.received.length === 3);
    await closeAll();
    expect(receiver.typesAt('/both')).toEqual(['stream.live', 'recording.ready']);
    expect(receiver.typesAt('/recordings')).toEqual(['recording.ready']);
    expect(receiver.received.every(({ isSigned }) => isSigned)).toBe(true);
    expect(receiver.received[0]).toMatchObject({ tenantId: DEFAULT_TENANT_ID, data: event.data });
    expect(await valueOf('origin_webhook_attempts_total', { outcome: 'delivered' })).toBe(3);
  });

  it('try again, and give up in the end', async () => {
    const flaky = await hook('/flaky');
    const dead = await hook('/dead');
    receiver.statusOf = (path) => {
      const attempts = receiver.typesAt(path).length;
      return path === '/dead' || attempts < 3 ? 503 : 204;
    };
    await store(makeEvent());
    dispatch();
    await waitFor('both to be done with', async () => {
      const [one, other] = [await deliveries(flaky), await deliveries(dead)];
      return one[0]?.state === 'delivered' && other[0]?.state === 'failed';
    });
    expect((await deliveries(flaky))[0]).toMatchObject({ attempts: 3, lastStatus: 204, lastError: null });
    expect((await deliveries(dead))[0]).toMatchObject({
      attempts: 3,
      lastStatus: 503,
      lastError: 'status_503',
      nextAtMs: null,
    });
    await closeAll();
    const ids = receiver.received.map(({ id }) => id);
    expect([ids.length, new Set(ids).size]).toEqual([6, 1]);
    expect(await valueOf('origin_webhook_attempts_total', { outcome: 'given_up' })).toBe(1);
  });

  it('go on where a process was stopped', async () => {
    const webhook = await hook('/silent');
    receiver.statusOf = () => undefined;
    await store(makeEvent());
    dispatch();
    await waitFor('the request', () => receiver.received.length === 1);
    await closeAll();
    expect((await deliveries(webhook))[0]).toMatchObject({ state: 'pending', attempts: 1 });
    receiver.statusOf = () => 204;
    dispatch();
    await waitFor('it to be told', async () => (await deliveries(webhook))[0]?.state === 'delivered');
    await closeAll();
    expect(receiver.received.length).toBe(2);
  });

  it('go on where a process was killed, and do not listen to it when it comes back', async () => {
    const webhook = await hook('/leased');
    await store(makeEvent());
    const { box } = registry.changes;
    const wanted = { limit: 10, perWebhookMax: 10, busy: [], leaseMs: 50 };
    const [killed] = await database.run(({ sql }) => claimDeliveries(sql, box, wanted));
    expect(killed?.attempt).toBe(1);
    const [next] = await waitFor('its lease to end', async () => {
      const claimed = await database.run(({ sql }) =>
        claimDeliveries(sql, box, { ...wanted, leaseMs: 60_000 }),
      );
      return claimed.length > 0 && claimed;
    });
    expect([next?.id, next?.attempt]).toEqual([killed?.id, 2]);
    if (killed === undefined || next === undefined) throw new Error('nothing was claimed');
    const failed = { status: 500, error: 'status_500' };
    await database.run(({ sql }) => reportAttempt(sql, killed, failed, undefined));
    expect((await deliveries(webhook))[0]?.state).toBe('pending');
    await database.run(({ sql }) => reportAttempt(sql, next, { status: 200, error: null }, undefined));
    expect((await deliveries(webhook))[0]?.state).toBe('delivered');
  });

  it('are told once by several origins together', async () => {
    await hook('/a');
    await hook('/b');
    for (let n = 0; n < 3; n++) dispatch();
    const count = 40;
    await Promise.all(Array.from({ length: count }, () => store(makeEvent())));
    await waitFor('all of them', () => receiver.received.length >= 2 * count, { deadlineMs: 30_000 });
    await closeAll();
    for (const path of ['/a', '/b']) {
      const ids = receiver.received.filter((request) => request.path === path).map(({ id }) => id);
      expect([ids.length, new Set(ids).size]).toEqual([count, count]);
    }
  });

  it('do not wait for one that hangs', async () => {
    await hook('/hangs');
    await hook('/works');
    receiver.statusOf = (path) => (path === '/hangs' ? undefined : 204);
    dispatch({ ...FAST, requestsMax: 4, perWebhookMax: 2 });
    for (let n = 0; n < 10; n++) await store(makeEvent());
    await waitFor('the one that works', () => receiver.typesAt('/works').length === 10);
    expect(receiver.typesAt('/hangs').length).toBeLessThanOrEqual(2);
    await closeAll();
  });

  it('are told no more than so many events that they do not take', async () => {
    const webhook = await hook('/full');
    await store(makeEvent());
    await database.run(
      ({ sql }) => sql`
        with more as (
          insert into origin.webhook_events (id, tenant_id, type, stream_id, at, occurrence, origin, data)
          select 'evt_' || n, 'default', 'stream.live', 'stream', now(), 'live ' || n, '', '{}'
          from generate_series(2, ${PENDING_DELIVERIES_MAX}::int) n returning id
        )
        insert into origin.webhook_deliveries (webhook_id, event_id) select ${webhook.id}, id from more`,
    );
    expect(await store(makeEvent())).toEqual({ begun: 0, dropped: 1 });
  });

  it('hear of a session that moves to another origin', async () => {
    await hook('/moves');
    const event = makeEvent();
    for (const origin of ['one', 'one', 'two', 'two', 'one']) await store(event, origin);
    dispatch();
    await waitFor('all three', () => receiver.received.length === 3);
    await closeAll();
    expect(receiver.typesAt('/moves').toSorted()).toEqual([
      'stream.failover',
      'stream.failover',
      'stream.live',
    ]);
    expect(receiver.received.find(({ type }) => type === 'stream.failover')?.data).toEqual({
      ...event.data,
      part: 'origin',
    });
  });

  describe('what nobody has seen', () => {
    const makeStream = async (id: string): Promise<void> => {
      const settings = {
        name: `Name of ${id}`,
        ladder: {},
        segmentDurationMs: 2_000,
        partDurationMs: 333,
        reconnectWindowS: 60,
        dvrWindowS: 0,
        retentionS: 60,
        access: 'public' as const,
      };
      await registry.streams.create(actor, { id, settings, key: {} });
    };

    it('is found: a recording that is complete', async () => {
      await makeStream('recorded');
      const put = (id: number, endedAgo: string, retentionMs = 60_000) =>
        database.run(
          ({ sql }) => sql`
            insert into origin.recordings (stream_id, id, began_at, ended_at, expires_at, dvr_window_ms, retention_ms, state)
            values ('recorded', ${id}, now() - interval '1 hour', now() - ${endedAgo}::interval,
              now() + interval '1 hour', 0, ${retentionMs}, '{}')`,
        );
      await put(1, '1 minute');
      await hook('/recordings');
      await put(2, '-1 second');
      await put(3, '-1 second', 0);
      const outbox = new EventOutbox({
        ...registry.changes,
        logger,
        metrics: counted,
        origin: '',
        onBegun: () => undefined,
      });
      const found = () =>
        database.run(({ sql }) => findReadyRecordings(sql, Date.now(), Date.now() - 3_600_000));
      expect((await found()).map(({ data }) => data['recordingId'])).toEqual(['2']);
      const sweep = new EventSweep({
        ...registry.changes,
        outbox,
        logger,
        metrics: counted,
      });
      await sweep.run();
      sweep.close();
      await outbox.close();
      expect(await found()).toEqual([]);
      dispatch();
      await waitFor('the recording', () => receiver.received.length === 1);
      await closeAll();
      expect(receiver.received[0]).toMatchObject({
        type: 'recording.ready',
        data: { streamId: 'recorded', name: 'Name of recorded', recordingId: '2' },
      });
    });

    it('is found: the end of a stream while no origin was there', async () => {
      const sessionId = randomUUID();
      const live = makeEvent({ data: { streamId: 'stream', name: 'Stream', sessionId } });
      await store(live);
      const session = async (id: string, endedAgo: string | null): Promise<void> => {
        await database.run(
          ({ sql }) => sql`
            insert into origin.publish_sessions (id, stream_id, tenant_id, key_id, remote_address, started_at, ended_at)
            values (${id}, 'stream', 'default', 'key', '', now() - interval '3 hours', now() - ${endedAgo}::interval)`,
        );
      };
      const find = () => database.run(({ sql }) => findSilentEnds(sql, Date.now(), 3_600_000));
      await session(sessionId, '2 hours');
      const again = randomUUID();
      await session(again, null);
      expect(await find()).toEqual([]);
      await database.run(({ sql }) => sql`delete from origin.publish_sessions where id = ${again}`);
      const [end] = await find();
      expect(end).toMatchObject({ type: 'stream.ended', occurrence: `ended ${sessionId}`, data: live.data });
      await store(end ?? live);
      expect(await find()).toEqual([]);
    });
  });

  describe('of a tenant', () => {
    it('are so many at most, each with a secret that is shown once and stored sealed', async () => {
      const secrets: string[] = [];
      for (let n = 0; n < WEBHOOKS_MAX; n++) {
        await hook(`/${n}`);
        secrets.push(receiver.secrets.get(`/${n}`) ?? '');
      }
      await expect(hook('/more')).rejects.toMatchObject({ code: 'webhooks_exhausted' });
      const rows = await database.run(
        ({ sql }) => sql`
          select (select json_agg(w) from origin.webhooks w) as hooks, (select json_agg(a) from origin.audit a) as audit`,
      );
      const everything = JSON.stringify(rows);
      for (const secret of secrets) expect(everything).not.toContain(secret.replace('whsec_', ''));
      expect(new Set(secrets).size).toBe(WEBHOOKS_MAX);
    });

    it.each(['http://example.com/', 'https://10.0.0.1/', 'https://[fd00::1]/', 'https://a:b@example.com/'])(
      'may not lead to %s',
      async (url) => {
        await expect(hook('/', { url })).rejects.toMatchObject({
          code: 'validation_failed',
          fields: [{ field: 'url' }],
        });
      },
    );
  });
});
