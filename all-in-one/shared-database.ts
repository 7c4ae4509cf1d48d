import { join } from 'node:path';
import type { AllInOneSettings } from '#all-in-one/settings.ts';
import type { Clock } from '#runtime/clock.ts';
import type { DisposableStack } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { Database, DEFAULT_DATABASE_SETTINGS, type DatabaseSettings } from '#runtime/postgres/database.ts';
import { openDatabase } from '#runtime/postgres/open-database.ts';

type ServiceDeps = { readonly clock: Clock; readonly logger: Logger; readonly metrics: Metrics };

/** A pool of connections for each service, to one server. */
export type SharedDatabase = { readonly origin: Database; readonly steering: Database };

/**
 * Starts the one embedded PostgreSQL that the services share, each with a schema and connections of its own. Nothing is
 * opened when the settings name a server: then every service connects by itself.
 *
 * @throws what {@link openDatabase} throws
 */
export async function openSharedDatabase(
  { origin, steering, dataDir }: AllInOneSettings,
  deps: { readonly origin: ServiceDeps; readonly steering: ServiceDeps },
  started: DisposableStack,
): Promise<SharedDatabase | undefined> {
  if (origin.DATABASE_URL !== '') return undefined;
  const opened = await openDatabase(
    { folder: join(dataDir, 'postgres') },
    pool(origin.ORIGIN_DATABASE_CONNECTIONS),
    deps.origin,
  );
  started.add('database', opened, () => opened.close());
  const { embedded } = opened;
  if (embedded === undefined) throw new Error('a folder is always opened by an embedded server');
  const forSteering = new Database(
    embedded.target,
    pool(steering.STEERING_DATABASE_CONNECTIONS),
    deps.steering,
  );
  started.add('database of steering', forSteering, () => forSteering.close());
  return { origin: opened.database, steering: forSteering };
}

function pool(connectionsMax: number): DatabaseSettings {
  return { ...DEFAULT_DATABASE_SETTINGS, connectionsMax };
}
