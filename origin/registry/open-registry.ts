import { timingSafeEqual } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import type { Database } from '#runtime/postgres/database.ts';
import { migrate, readMigrations } from '#runtime/postgres/migrations.ts';
import { ApiKeyRegistry } from '#origin/registry/api-key-registry.ts';
import { PepperError, pepperCheck } from '#origin/registry/pepper.ts';
import { PostgresSessionStore } from '#origin/registry/publish-session-store.ts';
import type { RegistryChangeDeps } from '#origin/registry/registry-change.ts';
import { SealedJson } from '#origin/registry/sealed-json.ts';
import { StreamKeys } from '#origin/registry/stream-keys.ts';
import { StreamRegistry } from '#origin/registry/stream-registry.ts';
import { TenantRegistry } from '#origin/registry/tenant-registry.ts';

/** Everything the origin keeps in PostgreSQL. */
export type Registry = {
  readonly streams: StreamRegistry;
  readonly tenants: TenantRegistry;
  readonly apiKeys: ApiKeyRegistry;
  readonly sessions: PostgresSessionStore;
  readonly keys: StreamKeys;
  /** What else is kept beside them makes its changes with this. */
  readonly changes: RegistryChangeDeps;
};

const MIGRATIONS = fileURLToPath(new URL('migrations', import.meta.url));

/**
 * Brings the database up to date and opens the registry on it.
 *
 * @throws {MigrationError} the database does not fit the program
 * @throws {PepperError} `pepper_mismatch`: the keys in this database were made under another pepper
 */
export async function openRegistry(
  settings: {
    readonly streamsMax: number;
    readonly pepper: Buffer;
    /** Names this origin where several share the database. */
    readonly home?: string | undefined;
  },
  deps: { readonly database: Database; readonly clock: Clock; readonly logger: Logger },
): Promise<Registry> {
  await migrate(deps.database, 'origin', readMigrations(MIGRATIONS), deps.logger);
  await verifyPepper(deps.database, settings.pepper);
  const keys = new StreamKeys(settings.pepper);
  const box = new SealedJson(settings.pepper);
  return {
    keys,
    changes: { ...deps, box },
    streams: new StreamRegistry(settings.streamsMax, { ...deps, keys, box }),
    tenants: new TenantRegistry({ ...deps, box }),
    apiKeys: new ApiKeyRegistry({ ...deps, box }, settings.pepper),
    sessions: new PostgresSessionStore({ ...deps, keys, home: settings.home }),
  };
}

async function verifyPepper(database: Database, pepper: Buffer): Promise<void> {
  const expected = pepperCheck(pepper);
  const [row] = await database.run(async ({ sql }) => {
    await sql`insert into origin.pepper_check (digest) values (${expected}) on conflict do nothing`;
    return sql<{ digest: Buffer }>`select digest from origin.pepper_check`;
  });
  if (row !== undefined && !timingSafeEqual(row.digest, expected))
    throw new PepperError(
      'pepper_mismatch',
      'the stream keys in this database were made under another pepper: set ORIGIN_KEY_PEPPER to it or bring back ' +
        'the file key-pepper of its data folder; to give the keys up, empty origin.pepper_check and make new ones',
    );
}
