import { join } from 'node:path';
import type { Clock } from '#runtime/clock.ts';
import type { DisposableStack } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { DEFAULT_DATABASE_SETTINGS, type Database } from '#runtime/postgres/database.ts';
import { openDatabase } from '#runtime/postgres/open-database.ts';
import { ClusterUpkeep } from '#origin/cluster/cluster-upkeep.ts';
import type { OriginCluster } from '#origin/cluster/origin-cluster.ts';
import type { LiveStreams } from '#origin/live/live-streams.ts';
import { openRegistry, type Registry } from '#origin/registry/open-registry.ts';
import { loadPepper } from '#origin/registry/pepper.ts';
import { RegistryUpkeep } from '#origin/registry/registry-upkeep.ts';
import { FailedAuthorisations } from '#origin/sessions/failed-authorisations.ts';
import { PublishSessions } from '#origin/sessions/publish-sessions.ts';
import { SessionJournal } from '#origin/sessions/session-journal.ts';
import { SessionUpkeep } from '#origin/sessions/session-upkeep.ts';
import { StreamDirectory } from '#origin/sessions/stream-directory.ts';
import { Webhooks } from '#origin/webhooks/webhooks.ts';
import type { OriginSettings } from '#origin/settings.ts';

export type ControlPlaneDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly live: LiveStreams;
  /** The other origins, where there are any. */
  readonly cluster?: OriginCluster | undefined;
  /** A database to use instead of the one in the settings; it stays open. */
  readonly database?: Database | undefined;
};

/** Streams, keys and publish sessions: what stands between the API and the live window. */
export type ControlPlane = {
  readonly database: Database;
  readonly registry: Registry;
  readonly sessions: PublishSessions;
  readonly directory: StreamDirectory;
  readonly webhooks: Webhooks;
};

/** Addresses remembered for unknown keys: about 2 MB. */
const FAILING_ADDRESSES_MAX = 10_000;

/**
 * Opens the database, brings it up to date and takes up the publish sessions that it knows.
 *
 * @param started takes what is to be closed; newest first
 * @throws what {@link openDatabase}, {@link openRegistry} and {@link loadPepper} throw
 */
export async function openControlPlane(
  settings: OriginSettings,
  deps: ControlPlaneDeps,
  started: DisposableStack,
): Promise<ControlPlane> {
  const { clock, metrics, cluster } = deps;
  const live = cluster?.window ?? deps.live;
  const logger = deps.logger.child({ subsystem: 'control' });
  const database = deps.database ?? (await openOwnDatabase(settings, { clock, logger, metrics }, started));
  const pepper = loadPepper(settings.ORIGIN_KEY_PEPPER, join(settings.DATA_DIR, 'key-pepper'));
  const registry = await openRegistry(
    {
      streamsMax: settings.ORIGIN_STREAMS_MAX,
      pepper,
      home: cluster === undefined ? undefined : settings.ORIGIN_NODE_URL,
    },
    { database, clock, logger },
  );
  started.add('registry upkeep', new RegistryUpkeep({ database, clock, logger }), (upkeep) => upkeep.close());

  const store = registry.sessions;
  const write = store.record.bind(store);
  const journal = new SessionJournal({ clock, logger, metrics, write });
  started.add('session journal', journal, () => journal.close());
  const failures = new FailedAuthorisations(
    { perMinute: settings.ORIGIN_AUTH_FAILURES_PER_MINUTE, addressesMax: FAILING_ADDRESSES_MAX },
    { clock, metrics },
  );
  const sessions = new PublishSessions(
    { liveWindowMs: settings.LIVE_WINDOW_S * 1_000 },
    { clock, logger, metrics, store, journal, failures, live, cluster },
  );
  started.add('publish sessions', sessions, () => sessions.close());
  sessions.resume(await store.resume());
  const upkeep = new SessionUpkeep({ clock, logger, sessions, store, journal, live });
  started.add('session upkeep', upkeep, () => {
    upkeep.record();
    upkeep.close();
  });
  const directory = new StreamDirectory(await registry.streams.names());
  if (cluster !== undefined) {
    const streams = registry.streams.names.bind(registry.streams);
    const clusterUpkeep = new ClusterUpkeep({
      clock,
      logger,
      metrics,
      sessions,
      store,
      directory,
      streams,
      live: deps.live,
    });
    started.add('cluster upkeep', clusterUpkeep, () => clusterUpkeep.close());
  }
  const webhooks = new Webhooks(
    { allowedTargets: settings.ORIGIN_WEBHOOK_ALLOWED_TARGETS, origin: settings.ORIGIN_NODE_URL },
    { ...registry.changes, clock, logger, metrics, sessions, live, directory },
  );
  started.add('webhooks', webhooks, () => webhooks.close());
  return { database, registry, sessions, directory, webhooks };
}

async function openOwnDatabase(
  settings: OriginSettings,
  deps: { readonly clock: Clock; readonly logger: Logger; readonly metrics: Metrics },
  started: DisposableStack,
): Promise<Database> {
  const place =
    settings.DATABASE_URL === ''
      ? { folder: join(settings.DATA_DIR, 'postgres') }
      : { url: settings.DATABASE_URL };
  const pool = { ...DEFAULT_DATABASE_SETTINGS, connectionsMax: settings.ORIGIN_DATABASE_CONNECTIONS };
  const opened = await openDatabase(place, pool, deps);
  started.add('database', opened, () => opened.close());
  return opened.database;
}
