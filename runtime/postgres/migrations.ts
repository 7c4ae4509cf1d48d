import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '#runtime/log.ts';
import type { Database, Operation } from '#runtime/postgres/database.ts';

/** One step of a schema, applied once and never changed afterwards. */
export type Migration = { readonly id: number; readonly name: string; readonly sql: string };

/** The database and the program do not agree on what was done before. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError';
  readonly code: 'migration_changed' | 'migration_unknown' | 'migrations_malformed';

  constructor(code: MigrationError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** Longest the migrations of a start may take together, waiting for another process's included. */
export const MIGRATION_DEADLINE_MS = 120_000;

/**
 * Reads the migrations of a service from files named `0001-what-it-does.sql`.
 *
 * @throws {MigrationError} `migrations_malformed` when a number is missing or there twice
 */
export function readMigrations(folder: string): Migration[] {
  const migrations = readdirSync(folder)
    .filter((file) => file.endsWith('.sql'))
    .toSorted()
    .map((file) => {
      const match = /^(\d{4})-([a-z0-9-]+)\.sql$/.exec(file);
      if (match?.[1] === undefined || match[2] === undefined)
        throw new MigrationError('migrations_malformed', `${file}: expected a name like 0001-create-it.sql`);
      return { id: Number(match[1]), name: match[2], sql: readFileSync(join(folder, file), 'utf8') };
    });
  migrations.forEach((migration, index) => {
    if (migration.id !== index + 1)
      throw new MigrationError('migrations_malformed', `${folder}: number ${index + 1} is missing or double`);
  });
  return migrations;
}

/**
 * Brings a service's schema up to date: in one transaction, in order, each migration once, one process at a time. There
 * is no way back; a database that a newer program has migrated is refused.
 *
 * @param schema the service's own schema; it is created, and also holds the list of what was applied
 * @throws {MigrationError} a migration that was applied has changed, or the database is ahead of the program
 */
export async function migrate(
  database: Database,
  schema: string,
  migrations: readonly Migration[],
  logger: Logger,
): Promise<void> {
  if (!/^[a-z_]{1,32}$/.test(schema)) throw new TypeError(`not a schema name: ${schema}`);
  await database.transaction(async (operation) => {
    await operation.script(
      `set local lock_timeout = '${MIGRATION_DEADLINE_MS}ms'; set local statement_timeout = '${MIGRATION_DEADLINE_MS}ms'`,
    );
    await operation.sql`select pg_advisory_xact_lock(hashtextextended(${`migrate ${schema}`}, 0))`;
    await operation.script(
      `create schema if not exists ${schema};
       create table if not exists ${schema}.schema_migrations (
         id integer primary key, name text not null, sha256 text not null, applied_at timestamptz not null default now())`,
    );
    const applied = await readApplied(operation, schema);
    verify(applied, migrations);
    for (const migration of migrations.slice(applied.length)) {
      logger.info({ schema, migration: migration.id, name: migration.name }, 'migrating the database');
      await operation.script(migration.sql);
      await operation.script(
        `insert into ${schema}.schema_migrations (id, name, sha256)
         values (${migration.id}, '${migration.name}', '${checksum(migration)}')`,
      );
    }
  }, MIGRATION_DEADLINE_MS);
}

type Applied = { id: number; name: string; sha256: string };

async function readApplied(operation: Operation, schema: string): Promise<Applied[]> {
  const rows = await operation.script(`select id, name, sha256 from ${schema}.schema_migrations order by id`);
  return rows as Applied[];
}

function verify(applied: readonly Applied[], migrations: readonly Migration[]): void {
  for (const [index, done] of applied.entries()) {
    const migration = migrations[index];
    if (migration === undefined)
      throw new MigrationError(
        'migration_unknown',
        `the database has migration ${done.id} (${done.name}), which this program does not know: it is too old for it`,
      );
    if (done.id !== migration.id || done.sha256 !== checksum(migration))
      throw new MigrationError(
        'migration_changed',
        `migration ${migration.id} (${migration.name}) is not the one that was applied: add a new one instead`,
      );
  }
}

function checksum(migration: Migration): string {
  return createHash('sha256').update(migration.sql).digest('hex');
}
