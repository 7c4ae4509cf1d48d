import type { LadderSettings } from '#protocol/ingest/publish-session.ts';
import type { Sql } from '#runtime/postgres/connection.ts';
import type { StreamAccess, StreamRecord } from '#origin/registry/stream-record.ts';

type StreamRow = {
  id: string;
  name: string;
  ladder: LadderSettings;
  segment_duration_ms: number;
  part_duration_ms: number;
  reconnect_window_s: number;
  access: StreamAccess;
  dvr_window_s: number;
  retention_s: number;
  created_at: Date;
  updated_at: Date;
};

/** What the directory keeps of a stream. */
export type DirectoryEntry = {
  readonly id: string;
  readonly tenantId: string;
  readonly name: string;
  readonly access: StreamAccess;
};

/** Where a page of the list begins: right after this stream. */
export type ListPosition = { readonly createdAtMs: number; readonly id: string };

/** Unique violation `streams_pkey` when the id is taken, by whichever tenant. */
export async function insertStream(sql: Sql, tenantId: string, stream: StreamRecord): Promise<void> {
  await sql`
    insert into origin.streams (id, tenant_id, name, ladder, segment_duration_ms, part_duration_ms,
      reconnect_window_s, access, dvr_window_s, retention_s, created_at, updated_at)
    values (${stream.id}, ${tenantId}, ${stream.name}, ${stream.ladder}::jsonb, ${stream.segmentDurationMs},
      ${stream.partDurationMs}, ${stream.reconnectWindowS}, ${stream.access}, ${stream.dvrWindowS},
      ${stream.retentionS}, ${new Date(stream.createdAtMs)},
      ${new Date(stream.updatedAtMs)})`;
}

export async function findStream(sql: Sql, tenantId: string, id: string): Promise<StreamRecord | undefined> {
  const [row] =
    await sql<StreamRow>`select * from origin.streams where tenant_id = ${tenantId} and id = ${id}`;
  return row && toRecord(row);
}

/** Like {@link findStream}, and nobody else changes the stream or its keys until the transaction ends. */
export async function lockStream(sql: Sql, tenantId: string, id: string): Promise<StreamRecord | undefined> {
  const [row] = await sql<StreamRow>`
    select * from origin.streams where tenant_id = ${tenantId} and id = ${id} for update`;
  return row && toRecord(row);
}

/** Newest first. */
export async function listStreams(
  sql: Sql,
  tenantId: string,
  limit: number,
  after: ListPosition | undefined,
): Promise<StreamRecord[]> {
  const rows = await sql<StreamRow>`
    select * from origin.streams
    where tenant_id = ${tenantId} and (${after === undefined}
      or (created_at, id) < (${new Date(after?.createdAtMs ?? 0)}::timestamptz, ${after?.id ?? ''}))
    order by created_at desc, id desc
    limit ${limit}`;
  return rows.map(toRecord);
}

export async function updateStream(sql: Sql, tenantId: string, stream: StreamRecord): Promise<void> {
  await sql`
    update origin.streams set name = ${stream.name}, ladder = ${stream.ladder}::jsonb,
      segment_duration_ms = ${stream.segmentDurationMs}, part_duration_ms = ${stream.partDurationMs},
      reconnect_window_s = ${stream.reconnectWindowS}, access = ${stream.access},
      dvr_window_s = ${stream.dvrWindowS}, retention_s = ${stream.retentionS}, updated_at = ${new Date(stream.updatedAtMs)}
    where tenant_id = ${tenantId} and id = ${stream.id}`;
}

/** Its keys go with it, its publish sessions and audit stay; its recordings are to be deleted. */
export async function deleteStream(sql: Sql, tenantId: string, id: string): Promise<void> {
  const gone = await sql`
    delete from origin.streams where tenant_id = ${tenantId} and id = ${id} returning id`;
  if (gone.length === 0) return;
  await sql`
    update origin.recordings set ended_at = coalesce(ended_at, now()), expires_at = 'epoch' where stream_id = ${id}`;
}

/** What the directory keeps of all tenants' streams. */
export function listStreamNames(sql: Sql): Promise<DirectoryEntry[]> {
  return sql`select id, tenant_id as "tenantId", name, access from origin.streams`;
}

export async function countStreams(sql: Sql, tenantId: string): Promise<number> {
  const [row] = await sql<{ n: number }>`
    select count(*)::int as n from origin.streams where tenant_id = ${tenantId}`;
  return row?.n ?? 0;
}

function toRecord(row: StreamRow): StreamRecord {
  return {
    id: row.id,
    name: row.name,
    ladder: row.ladder,
    segmentDurationMs: row.segment_duration_ms,
    partDurationMs: row.part_duration_ms,
    reconnectWindowS: row.reconnect_window_s,
    dvrWindowS: row.dvr_window_s,
    retentionS: row.retention_s,
    access: row.access,
    createdAtMs: row.created_at.getTime(),
    updatedAtMs: row.updated_at.getTime(),
  };
}
