import type { Sql } from '#runtime/postgres/connection.ts';
import type { Actor } from '#origin/registry/stream-record.ts';

export type AuditAction =
  | 'stream.created'
  | 'stream.updated'
  | 'stream.deleted'
  | 'stream.key_changed'
  | 'stream.ensured'
  | 'tenant.created'
  | 'tenant.updated'
  | 'tenant.deleted'
  | 'api_key.created'
  | 'api_key.deleted'
  | 'webhook.created'
  | 'webhook.updated'
  | 'webhook.deleted';

type AuditedValue = Readonly<Record<string, unknown>> | null;

/** A change that was made. */
export type AuditRecord = {
  /** Grows with every change. */
  readonly id: number;
  readonly atMs: number;
  readonly actor: string;
  readonly action: string;
  readonly streamId: string | null;
  /** What else was changed, as `api_key:{id}`; null for a stream. */
  readonly subject: string | null;
  readonly requestId: string;
  readonly before: AuditedValue;
  readonly after: AuditedValue;
};

/** How long changes are remembered. */
export const AUDIT_KEPT_MS = 400 * 24 * 60 * 60 * 1000;

/** Remembers a change in the transaction that makes it. `before` and `after` never hold a key. */
export async function appendAudit(
  sql: Sql,
  actor: Actor,
  nowMs: number,
  entry: {
    readonly action: AuditAction;
    readonly streamId?: string;
    readonly subject?: string;
    readonly before?: AuditedValue;
    readonly after?: AuditedValue;
  },
): Promise<void> {
  await sql`
    insert into origin.audit (at, tenant_id, actor, action, stream_id, subject, request_id, before, after)
    values (${new Date(nowMs)}, ${actor.tenantId}, ${actor.name}, ${entry.action}, ${entry.streamId ?? null},
      ${entry.subject ?? null}, ${actor.requestId}, ${entry.before ?? null}::jsonb, ${entry.after ?? null}::jsonb)`;
}

/** A tenant's changes, newest first. @param beforeId only those older than this one */
export async function listAudit(
  sql: Sql,
  tenantId: string,
  limit: number,
  wanted: { readonly beforeId?: number | undefined; readonly streamId?: string | undefined },
): Promise<AuditRecord[]> {
  const { beforeId = Number.MAX_SAFE_INTEGER, streamId = null } = wanted;
  const rows = await sql<{
    id: number;
    at: Date;
    actor: string;
    action: string;
    stream_id: string | null;
    subject: string | null;
    request_id: string;
    before: AuditedValue;
    after: AuditedValue;
  }>`
    select id, at, actor, action, stream_id, subject, request_id, before, after from origin.audit
    where tenant_id = ${tenantId} and id < ${beforeId} and (${streamId}::text is null or stream_id = ${streamId})
    order by id desc limit ${limit}`;
  return rows.map(({ at, stream_id: changed, request_id: requestId, ...row }) => ({
    ...row,
    atMs: at.getTime(),
    streamId: changed,
    requestId,
  }));
}

export async function forgetOldAudit(sql: Sql, nowMs: number): Promise<void> {
  await sql`delete from origin.audit where at < ${new Date(nowMs - AUDIT_KEPT_MS)}`;
}
