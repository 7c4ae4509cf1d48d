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
  /** Opens a pool on it; closed together with the server. */
  open(settings?: Partial<DatabaseSettings>): Database & { readonly metrics: Metrics };
  close(): Promise<void>;
};

export async function startTestPostgres(): Promise<TestPostgres> {
  const folder = mkdtempSync(join(tmpdir(), 'livehls-pg-'));
  const base = { clock: systemClock, logger: createLogger('test', 'silent') };
  const server = await EmbeddedPostgres.start({ folder }, { ...base, metrics: createMetrics('test') });
  const databases: Database[] = [];
  return {
    server,
    open(settings = {}) {
      const metrics = createMetrics('test');
      const database = new Database(
        server.target,
        { ...DEFAULT_DATABASE_SETTINGS, ...settings },
        { ...base, metrics },
      );
      databases.push(database);
      return Object.assign(database, { metrics });
    },
    async close() {
      await Promise.all(databases.map((database) => database.close()));
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
