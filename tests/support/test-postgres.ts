import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics, type Metrics } from '#runtime/metrics.ts';
import { Database, DEFAULT_DATABASE_SETTINGS, type DatabaseSettings } from '#runtime/postgres/database.ts';
import { EmbeddedPostgres } from '#runtime/postgres/embedded-postgres.ts';
import { listPostgresBinaries } from '#runtime/postgres/postgres-binaries.ts';

/** Whether tests that need a real PostgreSQL must be skipped on this machine; say so with `describe.skipIf`. */
export const hasNoPostgres = listPostgresBinaries().length === 0;

/** A real PostgreSQL in a folder of its own, for one test file. */
export type TestPostgres = {
  readonly server: EmbeddedPostgres;
  /** Opens a pool on it, on a database of `createDatabase` or the common one; closed together with the server. */
  open(settings?: Partial<DatabaseSettings>, name?: string): Database & { readonly metrics: Metrics };
  /** Makes an empty database of its own; returns its name. */
  createDatabase(): Promise<string>;
  close(): Promise<void>;
};

export async function startTestPostgres(): Promise<TestPostgres> {
  const folder = mkdtempSync(join(tmpdir(), 'livehls-pg-'));
  const base = { clock: systemClock, logger: createLogger('test', 'silent') };
  const server = await EmbeddedPostgres.start({ folder }, { ...base, metrics: createMetrics('test') });
  const databases: Database[] = [];
  let databaseCount = 0;
  const open: TestPostgres['open'] = (settings = {}, name = 'postgres') => {
    const metrics = createMetrics('test');
    const target = { ...server.target, database: name };
    const database = new Database(
      target,
      { ...DEFAULT_DATABASE_SETTINGS, ...settings },
      { ...base, metrics },
    );
    databases.push(database);
    return Object.assign(database, { metrics });
  };
  return {
    server,
    open,
    async createDatabase() {
      const name = `test_${++databaseCount}`;
      await open().run(({ script }) => script(`create database ${name}`));
      return name;
    },
    async close() {
      await Promise.all(databases.map((database) => database.close()));
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
