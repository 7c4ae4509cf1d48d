import type { Sql } from '#runtime/postgres/connection.ts';
import type { ListPosition } from '#origin/registry/streams-table.ts';
import type { WebhookEventType } from '#origin/webhooks/webhook-event.ts';

/** Where a tenant is told of events. The secret is elsewhere. */
export type WebhookRecord = {
  readonly id: string;
  readonly tenantId: string;
  readonly url: string;
  readonly events: readonly WebhookEventType[];
  readonly enabled: boolean;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
};

type WebhookRow = {
  id: string;
  tenant_id: string;
  url: string;
  events: WebhookEventType[];
  enabled: boolean;
  created_at: Date;
  updated_at: Date;
};

export async function insertWebhook(sql: Sql, webhook: WebhookRecord, sealedSecret: Buffer): Promise<void> {
  await sql`
    insert into origin.webhooks (id, tenant_id, url, events, enabled, sealed_secret, created_at, updated_at)
    values (${webhook.id}, ${webhook.tenantId}, ${webhook.url}, ${webhook.events}::jsonb, ${webhook.enabled},
      ${sealedSecret}, ${new Date(webhook.createdAtMs)}, ${new Date(webhook.updatedAtMs)})`;
}

export async function findWebhook(
  sql: Sql,
  tenantId: string,
  id: string,
): Promise<WebhookRecord | undefined> {
  const [row] = await sql<WebhookRow>`
    select id, tenant_id, url, events, enabled, created_at, updated_at from origin.webhooks
    where tenant_id = ${tenantId} and id = ${id}`;
  return row && toWebhook(row);
}

/** Newest first. */
export async function listWebhooks(
  sql: Sql,
  tenantId: string,
  limit: number,
  after: ListPosition | undefined,
): Promise<WebhookRecord[]> {
  const rows = await sql<WebhookRow>`
    select id, tenant_id, url, events, enabled, created_at, updated_at from origin.webhooks
    where tenant_id = ${tenantId} and (${after === undefined}
      or (created_at, id) < (${new Date(after?.createdAtMs ?? 0)}::timestamptz, ${after?.id ?? ''}))
    order by created_at desc, id desc
    limit ${limit}`;
  return rows.map(toWebhook);
}

export async function countWebhooks(sql: Sql, tenantId: string): Promise<number> {
  const [row] = await sql<{ n: number }>`
    select count(*)::int as n from origin.webhooks where tenant_id = ${tenantId}`;
  return row?.n ?? 0;
}

export async function updateWebhook(sql: Sql, webhook: WebhookRecord): Promise<void> {
  await sql`
    update origin.webhooks set url = ${webhook.url}, events = ${webhook.events}::jsonb, enabled = ${webhook.enabled},
      updated_at = ${new Date(webhook.updatedAtMs)}
    where tenant_id = ${webhook.tenantId} and id = ${webhook.id}`;
}

/** Its deliveries go with it. */
export async function deleteWebhook(
  sql: Sql,
  tenantId: string,
  id: string,
): Promise<WebhookRecord | undefined> {
  const [row] = await sql<WebhookRow>`
    delete from origin.webhooks where tenant_id = ${tenantId} and id = ${id}
    returning id, tenant_id, url, events, enabled, created_at, updated_at`;
  return row && toWebhook(row);
}

function toWebhook(row: WebhookRow): WebhookRecord {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    url: row.url,
    events: row.events,
    enabled: row.enabled,
    createdAtMs: row.created_at.getTime(),
    updatedAtMs: row.updated_at.getTime(),
  };
}
