import type { Sql } from '#runtime/postgres/connection.ts';

/** Whom streams, API keys and webhooks belong to. */
export type TenantRecord = {
  readonly id: string;
  readonly name: string;
  /** Streams that it may have; null for as many as the server allows each. */
  readonly streamsMax: number | null;
  /** Streams that it may publish at once; null for no limit. */
  readonly liveMax: number | null;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
};

/** The tenant of a server that has no others. It cannot be deleted. */
export const DEFAULT_TENANT_ID = 'default';
export const TENANT_ID_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/;

type TenantRow = {
  id: string;
  name: string;
  streams_max: number | null;
  live_max: number | null;
  created_at: Date;
  updated_at: Date;
};

/** @returns false when there is one with this id */
export async function insertTenant(sql: Sql, tenant: TenantRecord): Promise<boolean> {
  const rows = await sql`
    insert into origin.tenants (id, name, streams_max, live_max, created_at, updated_at)
    values (${tenant.id}, ${tenant.name}, ${tenant.streamsMax}, ${tenant.liveMax}, ${new Date(tenant.createdAtMs)},
      ${new Date(tenant.updatedAtMs)})
    on conflict (id) do nothing returning id`;
  return rows.length > 0;
}

export async function findTenant(sql: Sql, id: string): Promise<TenantRecord | undefined> {
  const [row] = await sql<TenantRow>`select * from origin.tenants where id = ${id}`;
  return row && toTenant(row);
}

/** As {@link findTenant}; others who lock it wait until the transaction ends, so that what it has can be counted. */
export async function lockTenant(sql: Sql, id: string): Promise<TenantRecord | undefined> {
  const [row] = await sql<TenantRow>`select * from origin.tenants where id = ${id} for no key update`;
  return row && toTenant(row);
}

/** By id, beginning after `afterId`. */
export async function listTenants(sql: Sql, limit: number, afterId: string): Promise<TenantRecord[]> {
  const rows = await sql<TenantRow>`
    select * from origin.tenants where id collate "C" > ${afterId} order by id collate "C" limit ${limit}`;
  return rows.map(toTenant);
}

export async function updateTenant(sql: Sql, tenant: TenantRecord): Promise<void> {
  await sql`
    update origin.tenants set name = ${tenant.name}, streams_max = ${tenant.streamsMax}, live_max = ${tenant.liveMax},
      updated_at = ${new Date(tenant.updatedAtMs)}
    where id = ${tenant.id}`;
}

/** Its API keys go with it. Foreign key violation when it has streams. */
export async function deleteTenant(sql: Sql, id: string): Promise<void> {
  await sql`delete from origin.tenants where id = ${id}`;
}

function toTenant(row: TenantRow): TenantRecord {
  return {
    id: row.id,
    name: row.name,
    streamsMax: row.streams_max,
    liveMax: row.live_max,
    createdAtMs: row.created_at.getTime(),
    updatedAtMs: row.updated_at.getTime(),
  };
}
