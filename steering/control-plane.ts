import path from 'node:path';
import type { Bus } from '#runtime/bus/bus.ts';
import { openBus } from '#runtime/bus/open-bus.ts';
import type { Clock } from '#runtime/clock.ts';
import type { DisposableStack } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { Database, DEFAULT_DATABASE_SETTINGS } from '#runtime/postgres/database.ts';
import { openDatabase } from '#runtime/postgres/open-database.ts';
import { LastKnownFile, type RegistryState } from '#steering/registry/last-known.ts';
import { Registry } from '#steering/registry/registry.ts';
import type { SteeringSettings } from '#steering/settings.ts';

export type ControlPlaneDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** A database to use instead of the one in the settings; it stays open. */
  readonly database?: Database | undefined;
  /** A bus to use instead of the one in the settings; it stays open. */
  readonly bus?: Bus | undefined;
};

/** What the answers depend on beyond this process, and may lose without stopping. */
export type ControlPlane = {
  readonly database: Database;
  readonly bus: Bus;
  readonly registry: Registry;
  /** Health factors that were good before the last stop. */
  readonly heldHealth: ReadonlyMap<string, number>;
  /** Remembers the registry together with these health factors, on disk. */
  readonly remember: (heldHealth: ReadonlyMap<string, number>) => Promise<void>;
};

/**
 * Opens database, bus and registry. A PostgreSQL or Redis elsewhere that is away does not hold up the start: the node
 * begins with what it knew last.
 *
 * @param started takes what is to be closed; newest first
 * @throws what starting an embedded database throws, and errors of the settings
 */
export async function openControlPlane(
  settings: SteeringSettings,
  deps: ControlPlaneDeps,
  started: DisposableStack,
): Promise<ControlPlane> {
  const { clock, metrics } = deps;
  const logger = deps.logger.child({ subsystem: 'control' });
  const database = deps.database ?? (await openOwnDatabase(settings, { clock, logger, metrics }, started));
  const bus = deps.bus ?? (await openOwnBus(settings, { clock, logger, metrics }, started));
  const file = new LastKnownFile(settings.DATA_DIR, { logger });
  const lastKnown = await file.read();
  let state: RegistryState | undefined = lastKnown?.registry;
  let heldHealth: ReadonlyMap<string, number> = new Map(Object.entries(lastKnown?.heldHealth ?? {}));
  const save = async (): Promise<void> => {
    if (state === undefined) return;
    await file.save({ registry: state, heldHealth: Object.fromEntries(heldHealth) }, clock.nowMs());
  };
  const registry = new Registry(state, {
    database,
    bus,
    clock,
    logger,
    metrics,
    remember: (next) => {
      state = next;
      void save();
    },
  });
  started.add('last known state', file, save);
  await registry.start();
  started.add('registry', registry, () => registry.close());
  return {
    database,
    bus,
    registry,
    heldHealth,
    remember: (health) => {
      heldHealth = health;
      return save();
    },
  };
}

async function openOwnDatabase(
  settings: SteeringSettings,
  deps: { readonly clock: Clock; readonly logger: Logger; readonly metrics: Metrics },
  started: DisposableStack,
): Promise<Database> {
  const pool = { ...DEFAULT_DATABASE_SETTINGS, connectionsMax: settings.STEERING_DATABASE_CONNECTIONS };
  if (settings.DATABASE_URL !== '') {
    const database = new Database({ url: settings.DATABASE_URL }, pool, deps);
    return started.add('database', database, () => database.close());
  }
  const folder = path.join(settings.DATA_DIR, 'steering-postgres');
  const opened = await openDatabase({ folder }, pool, deps);
  return started.add('database', opened, () => opened.close()).database;
}

async function openOwnBus(
  settings: SteeringSettings,
  deps: { readonly clock: Clock; readonly logger: Logger; readonly metrics: Metrics },
  started: DisposableStack,
): Promise<Bus> {
  const bus = await openBus(settings.REDIS_URL === '' ? undefined : settings.REDIS_URL, deps);
  return started.add('bus', bus, () => bus.close());
}
