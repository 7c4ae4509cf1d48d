import type { Sql } from '#runtime/postgres/connection.ts';
import type { ListPosition } from '#origin/registry/streams-table.ts';

/** What a key of the API may do. `admin` may everything of its tenant; `streams:write` includes `streams:read`. */
export const API_SCOPES = ['admin', 'streams:write', 'streams:read', 'ops'] as const;
export type ApiScope = (typeof API_SCOPES)[number];

/** A key of the API as the registry has it; the key itself is known to its owner only. */
export type ApiKeyRecord = {
  readonly id: string;
  readonly tenantId: string;
  readonly name: string;
  readonly scopes: readonly ApiScope[];
  readonly createdAtMs: number;
  /** When it ends; null for never. */
  readonly notAfterMs: number | null;
  /** To a minute; null before the first time. */
  readonly lastUsedAtMs: number | null;
};

type ApiKeyRow = {
  id: string;
  tenant_id: string;
  name: string;
  digest: Buffer;
  scopes: ApiScope[];
  created_at: Date;
  not_after: Date | null;
  last_used_at: Date | null;
};

/** A use is written down when the last one that was is so old. */
const USE_RECORDED_MS = 60_000;

export async function insertApiKey(sql: Sql, key: ApiKeyRecord, digest: Buffer): Promise<void> {
  await sql`
    insert into origin.api_keys (id, tenant_id, name, digest, scopes, created_at, not_after)
    values (${key.id}, ${key.tenantId}, ${key.name}, ${digest}, ${key.scopes}::jsonb, ${new Date(key.createdAtMs)},
      ${key.notAfterMs === null ? null : new Date(key.notAfterMs)})`;
}

/** A key that is used, by its id alone: whose it is, it tells itself. Notes that it was used. */
export async function useApiKey(
  sql: Sql,
  id: string,
  nowMs: number,
): Promise<(ApiKeyRecord & { readonly digest: Buffer }) | undefined> {
  const [row] = await sql<ApiKeyRow>`
    select * from origin.api_keys where id = ${id} and (not_after is null or not_after > ${new Date(nowMs)})`;
  if (row === undefined) return undefined;
  if (row.last_used_at === null || row.last_used_at.getTime() < nowMs - USE_RECORDED_MS)
    await sql`
      update origin.api_keys set last_used_at = greatest(last_used_at, ${new Date(nowMs)}) where id = ${id}`;
  return { ...toApiKey(row), digest: row.digest };
}

export async function findApiKey(sql: Sql, tenantId: string, id: string): Promise<ApiKeyRecord | undefined> {
  const [row] =
    await sql<ApiKeyRow>`select * from origin.api_keys where tenant_id = ${tenantId} and id = ${id}`;
  return row && toApiKey(row);
}

/** Newest first. */
export async function listApiKeys(
  sql: Sql,
  tenantId: string,
  limit: number,
  after: ListPosition | undefined,
): Promise<ApiKeyRecord[]> {
  const rows = await sql<ApiKeyRow>`
    select * from origin.api_keys
    where tenant_id = ${tenantId} and (${after === undefined}
      or (created_at, id) < (${new Date(after?.createdAtMs ?? 0)}::timestamptz, ${after?.id ?? ''}))
    order by created_at desc, id desc
    limit ${limit}`;
  return rows.map(toApiKey);
}

export async function countApiKeys(sql: Sql, tenantId: string): Promise<number> {
  const [row] = await sql<{ n: number }>`
    select count(*)::int as n from origin.api_keys where tenant_id = ${tenantId}`;
  return row?.n ?? 0;
}

export async function deleteApiKey(
  sql: Sql,
  tenantId: string,
  id: string,
): Promise<ApiKeyRecord | undefined> {
  const [row] = await sql<ApiKeyRow>`
    delete from origin.api_keys where tenant_id = ${tenantId} and id = ${id} returning *`;
  return row && toApiKey(row);
}

export async function deleteExpiredApiKeys(sql: Sql, nowMs: number): Promise<void> {
  await sql`delete from origin.api_keys where not_after <= ${new Date(nowMs)}`;
}

function toApiKey(row: ApiKeyRow): ApiKeyRecord {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    name: row.name,
    scopes: row.scopes,
    createdAtMs: row.created_at.getTime(),
    notAfterMs: row.not_after?.getTime() ?? null,
    lastUsedAtMs: row.last_used_at?.getTime() ?? null,
  };
}
