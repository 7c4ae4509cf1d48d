import type { Sql } from '#runtime/postgres/connection.ts';
import type { SealedJson } from '#origin/registry/sealed-json.ts';
import type { WebhookEventType } from '#origin/webhooks/webhook-event.ts';

/** A delivery that this process has taken on. */
export type ClaimedDelivery = {
  readonly id: number;
  readonly webhookId: string;
  /** This attempt's number, from 1. */
  readonly attempt: number;
  readonly url: string;
  readonly secret: string;
  readonly eventId: string;
  /** What is sent. */
  readonly body: string;
};

/** A delivery as the API shows it. */
export type DeliveryRecord = {
  readonly id: number;
  readonly eventId: string;
  readonly type: WebhookEventType;
  readonly streamId: string;
  readonly eventAtMs: number;
  readonly state: 'pending' | 'delivered' | 'failed';
  readonly attempts: number;
  /** When it is tried next; null when it is not. */
  readonly nextAtMs: number | null;
  readonly lastAtMs: number | null;
  readonly lastStatus: number | null;
  readonly lastError: string | null;
};

/** How an attempt has ended. */
export type AttemptOutcome = {
  /** HTTP status of the answer; null without one. */
  readonly status: number | null;
  /** A stable word for what went wrong; null when it was delivered. */
  readonly error: string | null;
};

type ClaimedRow = {
  id: number;
  webhook_id: string;
  attempts: number;
  url: string;
  sealed_secret: Buffer;
  event_id: string;
  tenant_id: string;
  type: string;
  at: Date;
  data: Readonly<Record<string, unknown>>;
};

/**
 * Takes on deliveries that are due; of several origins each gets others. One that is not reported on before its lease is
 * over falls due again.
 *
 * @param busy webhooks that are not to get another request now
 * @param perWebhookMax of one webhook at most so many, so that a slow one does not take every place
 */
export async function claimDeliveries(
  sql: Sql,
  box: SealedJson,
  wanted: {
    readonly limit: number;
    readonly perWebhookMax: number;
    readonly busy: readonly string[];
    readonly leaseMs: number;
  },
): Promise<ClaimedDelivery[]> {
  const rows = await sql<ClaimedRow>`
    with due as (
      select id from (
        select d.id, d.next_at, row_number() over (partition by d.webhook_id order by d.next_at, d.id) as place
        from origin.webhook_deliveries d join origin.webhooks w on w.id = d.webhook_id
        where d.state = 'pending' and d.next_at <= clock_timestamp() and w.enabled
          and d.webhook_id not in (select jsonb_array_elements_text(${wanted.busy}::jsonb))
      ) ranked
      where place <= ${wanted.perWebhookMax} order by next_at limit ${wanted.limit}
    ), locked as (
      select d.id from origin.webhook_deliveries d join due on due.id = d.id
      where d.state = 'pending' and d.next_at <= clock_timestamp()
      for update of d skip locked
    )
    update origin.webhook_deliveries d
      set attempts = d.attempts + 1, next_at = clock_timestamp() + ${wanted.leaseMs} * interval '1 millisecond'
    from locked l, origin.webhooks w, origin.webhook_events e
    where d.id = l.id and w.id = d.webhook_id and e.id = d.event_id
    returning d.id, d.webhook_id, d.attempts, w.url, w.sealed_secret, e.id as event_id, e.tenant_id, e.type, e.at, e.data`;
  return rows.map((row) => ({
    id: row.id,
    webhookId: row.webhook_id,
    attempt: row.attempts,
    url: row.url,
    secret: String(box.open(row.sealed_secret)),
    eventId: row.event_id,
    body: JSON.stringify({
      id: row.event_id,
      type: row.type,
      timestamp: row.at.toISOString(),
      tenantId: row.tenant_id,
      data: row.data,
    }),
  }));
}

/**
 * Notes how an attempt has ended. A report that comes after the delivery fell due again and was taken on by another is
 * dropped.
 *
 * @param retryAfterMs when to try again; undefined for never
 */
export async function reportAttempt(
  sql: Sql,
  delivery: Pick<ClaimedDelivery, 'id' | 'attempt'>,
  outcome: AttemptOutcome,
  retryAfterMs: number | undefined,
): Promise<void> {
  const state = outcome.error === null ? 'delivered' : retryAfterMs === undefined ? 'failed' : 'pending';
  await sql`
    update origin.webhook_deliveries
      set state = ${state}, last_at = clock_timestamp(), last_status = ${outcome.status}, last_error = ${outcome.error},
        next_at = clock_timestamp() + ${retryAfterMs ?? 0} * interval '1 millisecond'
    where id = ${delivery.id} and attempts = ${delivery.attempt} and state = 'pending'`;
}

/** What was sent to a webhook and how it went, newest first. @param beforeId only those older than this one */
export async function listDeliveries(
  sql: Sql,
  webhookId: string,
  limit: number,
  beforeId: number | undefined,
): Promise<DeliveryRecord[]> {
  const rows = await sql<{
    id: number;
    event_id: string;
    type: WebhookEventType;
    stream_id: string;
    at: Date;
    state: DeliveryRecord['state'];
    attempts: number;
    next_at: Date;
    last_at: Date | null;
    last_status: number | null;
    last_error: string | null;
  }>`
    select d.id, d.event_id, e.type, e.stream_id, e.at, d.state, d.attempts, d.next_at, d.last_at, d.last_status,
      d.last_error
    from origin.webhook_deliveries d join origin.webhook_events e on e.id = d.event_id
    where d.webhook_id = ${webhookId} and d.id < ${beforeId ?? Number.MAX_SAFE_INTEGER}
    order by d.id desc limit ${limit}`;
  return rows.map((row) => ({
    id: row.id,
    eventId: row.event_id,
    type: row.type,
    streamId: row.stream_id,
    eventAtMs: row.at.getTime(),
    state: row.state,
    attempts: row.attempts,
    nextAtMs: row.state === 'pending' ? row.next_at.getTime() : null,
    lastAtMs: row.last_at?.getTime() ?? null,
    lastStatus: row.last_status,
    lastError: row.last_error,
  }));
}

/** Deliveries that wait, of all tenants. */
export async function countPending(sql: Sql): Promise<number> {
  const [row] = await sql<{ n: number }>`
    select count(*)::int as n from origin.webhook_deliveries where state = 'pending'`;
  return row?.n ?? 0;
}
