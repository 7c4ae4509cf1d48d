import { beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics, type Metrics } from '#runtime/metrics.ts';
import { DatabaseUnavailableError } from '#runtime/postgres/database-errors.ts';
import type { Database } from '#runtime/postgres/database.ts';
import { EventOutbox, OUTBOX_MAX } from '#origin/webhooks/event-outbox.ts';
import type { WebhookEvent } from '#origin/webhooks/webhook-event.ts';
import { WebhookMetrics } from '#origin/webhooks/webhook-metrics.ts';
import { waitFor } from '#tests/support/wait-for.ts';

describe('EventOutbox', () => {
  let clock: FakeClock;
  let metrics: Metrics;
  let outbox: EventOutbox;
  /** Throws, or stores the event. */
  let store: () => void;
  let stored: number;
  let asked: number;
  let begun: number;

  beforeEach(() => {
    clock = new FakeClock();
    metrics = createMetrics('origin');
    store = () => undefined;
    stored = 0;
    asked = 0;
    begun = 0;
    const database = {
      transaction: async () => {
        asked++;
        store();
        stored++;
        return { begun: 1, dropped: 0 };
      },
    } as unknown as Database;
    outbox = new EventOutbox({
      database,
      clock,
      logger: createLogger('test', 'silent'),
      metrics: new WebhookMetrics(metrics),
      origin: '',
      onBegun: () => begun++,
    });
  });

  const put = (count: number): void => {
    for (let n = 0; n < count; n++) {
      const event: WebhookEvent = {
        type: 'stream.live',
        tenantId: 'default',
        streamId: 's',
        atMs: 0,
        occurrence: `live ${n}`,
        data: {},
      };
      outbox.put(event);
    }
  };
  const away = (): never => {
    throw new DatabaseUnavailableError('away', 'it is away');
  };
  const lost = async (): Promise<number> =>
    (await metrics.getSingleMetric('origin_webhook_events_lost_total')?.get())?.values[0]?.value ?? 0;

  it('keeps what it cannot store while the database is away, and stores it then', async () => {
    store = away;
    put(3);
    await waitFor('a first try', () => asked === 1);
    clock.advance(1_000);
    await waitFor('a second try', () => asked === 2);
    expect(outbox.size).toBe(3);
    store = () => undefined;
    clock.advance(1_000);
    await waitFor('all to be stored', () => outbox.size === 0);
    expect([stored, begun, await lost()]).toEqual([3, 3, 0]);
  });

  it('keeps so many at most, and counts what is lost', async () => {
    store = away;
    put(OUTBOX_MAX + 5);
    expect(outbox.size).toBe(OUTBOX_MAX);
    expect(await lost()).toBe(5);
  });

  it('lets one that can never be stored not stand in the way of the others', async () => {
    store = () => {
      if (asked === 1) throw new Error('it violates something');
    };
    put(2);
    await waitFor('both to be gone', () => outbox.size === 0);
    expect(stored).toBe(1);
  });

  it('takes nothing any more when it is closed', async () => {
    await outbox.close();
    put(1);
    expect([outbox.size, asked]).toEqual([0, 0]);
  });
});
