import type { Sql } from '#runtime/postgres/connection.ts';
import type { Actor } from '#origin/registry/stream-record.ts';

export type AuditAction =
  'stream.created' | 'stream.updated' | 'stream.deleted' | 'stream.key_changed' | 'stream.ensured';

/** Remembers a change in the transaction that makes it. `before` and `after` never hold a key. */
export async function appendAudit(
  sql: Sql,
  actor: Actor,
  nowMs: number,
  entry: {
    readonly action: AuditAction;
    readonly streamId: string;
    readonly before?: Readonly<Record<string, unknown>> | null;
    readonly after?: Readonly<Record<string, unknown>> | null;
  },
): Promise<void> {
  await sql`
    insert into origin.audit (at, tenant_id, actor, action, stream_id, request_id, before, after)
    values (${new Date(nowMs)}, ${actor.tenantId}, ${actor.name}, ${entry.action}, ${entry.streamId},
      ${actor.requestId}, ${entry.before ?? null}::jsonb, ${entry.after ?? null}::jsonb)`;
}
