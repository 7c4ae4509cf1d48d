import type { Sql } from '#runtime/postgres/connection.ts';
import { Cdn, type CdnConfig } from '#steering/registry/cdn.ts';

type Row = {
  name: string;
  config: Record<string, unknown>;
  generation: number;
  added_generation: number;
  created_at: Date;
  updated_at: Date;
};

/** A row that does not hold a CDN as this program knows them; another version has written it. */
export type UnreadableCdn = { readonly name: string; readonly problem: string };

/** All CDNs, by name, and the rows that could not be read. */
export async function readCdns(sql: Sql): Promise<{ cdns: Cdn[]; unreadable: UnreadableCdn[] }> {
  const rows = await sql<Row>`select * from steering.cdns`;
  const cdns: Cdn[] = [];
  const unreadable: UnreadableCdn[] = [];
  for (const row of rows) {
    const parsed = Cdn.safeParse(fromRow(row));
    if (parsed.success) cdns.push(parsed.data);
    else unreadable.push({ name: row.name, problem: parsed.error.issues[0]?.message ?? 'not readable' });
  }
  cdns.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { cdns, unreadable };
}

/** One CDN; undefined when there is none of that name. */
export async function readCdn(sql: Sql, name: string): Promise<Cdn | undefined> {
  const [row] = await sql<Row>`select * from steering.cdns where name = ${name}`;
  return row === undefined ? undefined : Cdn.parse(fromRow(row));
}

export async function countCdns(sql: Sql): Promise<number> {
  const [row] = await sql<{ count: number }>`select count(*) as count from steering.cdns`;
  return row?.count ?? 0;
}

/** Adds a CDN; undefined when the name is taken. */
export async function insertCdn(
  sql: Sql,
  name: string,
  config: CdnConfig,
  generation: number,
): Promise<Cdn | undefined> {
  const [row] = await sql<Row>`
    insert into steering.cdns (name, config, generation, added_generation)
    values (${name}, ${config}::jsonb, ${generation}, ${generation})
    on conflict do nothing returning *`;
  return row === undefined ? undefined : Cdn.parse(fromRow(row));
}

export async function replaceCdn(
  sql: Sql,
  name: string,
  config: CdnConfig,
  generation: number,
): Promise<Cdn> {
  const [row] = await sql<Row>`
    update steering.cdns set config = ${config}::jsonb, generation = ${generation}, updated_at = now()
    where name = ${name} returning *`;
  return Cdn.parse(row === undefined ? undefined : fromRow(row));
}

export async function removeCdn(sql: Sql, name: string): Promise<void> {
  await sql`delete from steering.cdns where name = ${name}`;
}

function fromRow(row: Row): unknown {
  return {
    ...row.config,
    name: row.name,
    generation: row.generation,
    addedGeneration: row.added_generation,
    createdAtMs: row.created_at.getTime(),
    updatedAtMs: row.updated_at.getTime(),
  };
}
