import { fileURLToPath } from 'node:url';
import { Counter, Gauge } from 'prom-client';
import type { Bus, BusSubscription } from '#runtime/bus/bus.ts';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { Database } from '#runtime/postgres/database.ts';
import { DatabaseUnavailableError } from '#runtime/postgres/database-errors.ts';
import { migrate, readMigrations } from '#runtime/postgres/migrations.ts';
import { validAccessTokens, type AccessToken } from '#steering/registry/access-token.ts';
import type { Actor } from '#steering/registry/actor.ts';
import type { Cdn, CdnDirectory } from '#steering/registry/cdn.ts';
import { carryOutDueChanges } from '#steering/registry/cdn-changes.ts';
import { readCdns } from '#steering/registry/cdns-table.ts';
import { forgetOldIdempotencyKeys, type Idempotency } from '#steering/registry/idempotency.ts';
import type { RegistryState } from '#steering/registry/last-known.ts';
import { forgetOldChanges, pendingChanges, type PlannedChange } from '#steering/registry/planned-change.ts';
import {
  changeRegistry,
  type RegistryResult,
  type RegistryTransaction,
} from '#steering/registry/registry-transaction.ts';

export type RegistryDeps = {
  readonly database: Database;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Called with each new state, to be remembered. */
  readonly remember: (state: RegistryState) => void;
};

/** Where the state in memory comes from. */
export type RegistrySource = 'none' | 'last-known' | 'database';

const CHANNEL = 'steering:registry';
/** How often a node looks whether it missed an announcement; one short statement. */
const RECONCILE_INTERVAL_MS = 1_000;
/** Without an answer from the database for so long the state counts as the last known one. */
const STALE_AFTER_MS = 5_000;
const TIDY_INTERVAL_MS = 3_600_000;
const MIGRATIONS = fileURLToPath(new URL('migrations', import.meta.url));
const EMPTY: RegistryState = {
  generation: 0,
  revision: 0,
  cdns: [],
  accessTokens: [],
  plannedChanges: [],
};
/** In whose name due changes are looked for; each is then made in the name of the one who ordered it. */
const SCHEDULER: Actor = { name: 'scheduler', role: 'admin', requestId: 'scheduler' };

/**
 * The registry of CDNs: PostgreSQL holds it, every node keeps all of it in memory. A change is announced on the bus and
 * read by all nodes at once; a node that missed that finds out within a second. Without PostgreSQL the state in memory
 * goes on to be served, and nothing can be changed.
 */
export class Registry implements CdnDirectory {
  readonly #deps: RegistryDeps;
  readonly #listeners = new Set<() => void>();
  readonly #metrics: ReturnType<typeof createRegistryMetrics>;
  #state: RegistryState;
  #byName: ReadonlyMap<string, Cdn>;
  #source: RegistrySource;
  #subscription: BusSubscription | undefined;
  #migrated = false;
  #syncedMs = -Infinity;
  /** The database's clock minus our monotonic one, ms. */
  #databaseClockMs: number | undefined;
  #tidiedMs = -Infinity;
  #timer: Timer | undefined;
  #working: Promise<void> | undefined;
  #again = false;
  #closed = false;

  /** @param lastKnown state of an earlier run, to begin with */
  constructor(lastKnown: RegistryState | undefined, deps: RegistryDeps) {
    this.#deps = deps;
    this.#state = lastKnown ?? EMPTY;
    this.#byName = new Map(this.#state.cdns.map((cdn) => [cdn.name, cdn]));
    this.#source = lastKnown === undefined ? 'none' : 'last-known';
    this.#metrics = createRegistryMetrics(deps.metrics, () => this.source === 'database');
  }

  /** Reads the registry for the first time; when PostgreSQL is away, goes on trying while the node works. */
  async start(): Promise<void> {
    this.#subscription = await this.#deps.bus.subscribe(CHANNEL, () => this.#reconcileSoon());
    await this.#reconcile();
    this.#schedule();
  }

  list(): readonly Cdn[] {
    return this.#state.cdns;
  }

  get(name: string): Cdn | undefined {
    return this.#byName.get(name);
  }

  get generation(): number {
    return this.#state.generation;
  }

  get accessTokens(): readonly AccessToken[] {
    return this.#state.accessTokens;
  }

  /** Changes that are still to come, the next first. */
  get plannedChanges(): readonly PlannedChange[] {
    return this.#state.plannedChanges;
  }

  /** Where the state comes from; `last-known` also once the database has been silent for some seconds. */
  get source(): RegistrySource {
    const silentMs = this.#deps.clock.monotonicMs() - this.#syncedMs;
    return this.#source === 'database' && silentMs > STALE_AFTER_MS ? 'last-known' : this.#source;
  }

  /** Whether a planned change is due within `withinMs`, by the database's clock. */
  changeDueWithin(withinMs: number): boolean {
    const next = this.#state.plannedChanges[0];
    return next !== undefined && next.dueAtMs - this.#databaseNowMs() < withinMs;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * Makes a change; when it resolves this node has taken it in and the others have been told.
   *
   * @throws {DatabaseUnavailableError}; and what `work` throws
   */
  async change<Value extends Readonly<Record<string, unknown>>>(
    actor: Actor,
    idempotency: Idempotency | undefined,
    work: (transaction: RegistryTransaction) => Promise<Value>,
  ): Promise<RegistryResult<Value>> {
    const result = await changeRegistry(this.#deps.database, actor, idempotency, work);
    if (!result.replayed) {
      await this.#reconcile();
      await this.#announce(result.revision);
    }
    return result;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#listeners.clear();
    await this.#subscription?.close();
    await this.#working;
  }

  async #announce(revision: number): Promise<void> {
    try {
      await this.#deps.bus.publish(CHANNEL, { revision });
    } catch (error) {
      // The others look for themselves every second.
      this.#metrics.failures.inc({ what: 'announce' });
      this.#deps.logger.warn({ err: error }, 'a change of the registry could not be announced');
    }
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer = this.#deps.clock.after(RECONCILE_INTERVAL_MS, () => {
      void this.#reconcile().then(() => this.#schedule());
    });
  }

  #reconcileSoon(): void {
    void this.#reconcile();
  }

  /** One at a time; a call that comes meanwhile is answered by one more round, which sees what it is about. */
  #reconcile(): Promise<void> {
    if (this.#working !== undefined) {
      this.#again = true;
      return this.#working;
    }
    this.#working = this.#rounds().finally(() => (this.#working = undefined));
    return this.#working;
  }

  async #rounds(): Promise<void> {
    do {
      this.#again = false;
      try {
        await this.#round();
      } catch (error) {
        this.#metrics.failures.inc({ what: 'reconcile' });
        // That the database is away is said once, by the pool.
        const level = error instanceof DatabaseUnavailableError ? 'debug' : 'error';
        this.#deps.logger[level]({ err: error }, 'the registry could not be read');
      }
    } while (this.#again && !this.#closed);
  }

  async #round(): Promise<void> {
    const { database, logger } = this.#deps;
    if (!this.#migrated) {
      await migrate(database, 'steering', readMigrations(MIGRATIONS), logger);
      this.#migrated = true;
    }
    const revision = await this.#lookAtRevision();
    if (revision !== this.#state.revision || this.#source !== 'database') await this.#load();
    if (this.#state.plannedChanges.some(({ dueAtMs }) => dueAtMs <= this.#databaseNowMs())) {
      const done = await changeRegistry(database, SCHEDULER, undefined, async (transaction) => ({
        count: await carryOutDueChanges(transaction),
      }));
      await this.#load();
      await this.#announce(done.revision);
    }
    await this.#tidy();
  }

  async #lookAtRevision(): Promise<number> {
    const [row] = await this.#deps.database.run(
      ({ sql }) => sql<{ revision: number; now: Date }>`
        select revision, clock_timestamp() as now from steering.registry`,
    );
    const monotonicMs = this.#deps.clock.monotonicMs();
    this.#syncedMs = monotonicMs;
    if (row !== undefined) this.#databaseClockMs = row.now.getTime() - monotonicMs;
    return row?.revision ?? 0;
  }

  async #load(): Promise<void> {
    const { database, logger, remember } = this.#deps;
    const { state, unreadable } = await database.transaction(async ({ sql, script }) => {
      await script('set transaction isolation level repeatable read read only');
      const [row] = await sql<{ generation: number; revision: number }>`
        select generation, revision from steering.registry`;
      const read = await readCdns(sql);
      const loaded: RegistryState = {
        generation: row?.generation ?? 0,
        revision: row?.revision ?? 0,
        cdns: read.cdns,
        accessTokens: await validAccessTokens(sql),
        plannedChanges: await pendingChanges(sql),
      };
      return { state: loaded, unreadable: read.unreadable };
    });
    for (const { name, problem } of unreadable) {
      this.#metrics.failures.inc({ what: 'unreadable' });
      logger.error({ cdn: name, problem }, 'a CDN in the database is not readable and is left out');
    }
    const changed = state.generation !== this.#state.generation || this.#source === 'none';
    this.#state = state;
    this.#byName = new Map(state.cdns.map((cdn) => [cdn.name, cdn]));
    this.#source = 'database';
    remember(state);
    if (changed) for (const listener of this.#listeners) listener();
  }

  async #tidy(): Promise<void> {
    const nowMs = this.#deps.clock.monotonicMs();
    if (nowMs - this.#tidiedMs < TIDY_INTERVAL_MS) return;
    this.#tidiedMs = nowMs;
    await this.#deps.database.run(async ({ sql }) => {
      await forgetOldIdempotencyKeys(sql);
      await forgetOldChanges(sql);
    });
  }

  /** Due dates are the database's: a node whose own clock is wrong is neither early nor late. */
  #databaseNowMs(): number {
    if (this.#databaseClockMs === undefined) return this.#deps.clock.nowMs();
    return this.#databaseClockMs + this.#deps.clock.monotonicMs();
  }
}

function createRegistryMetrics(registry: Metrics, isFresh: () => boolean) {
  const registers = [registry];
  new Gauge({
    name: 'steering_registry_fresh',
    help: 'Whether the registry in memory is the one in PostgreSQL; 0: the last known one.',
    registers,
    collect() {
      this.set(Number(isFresh()));
    },
  });
  return {
    failures: new Counter({
      name: 'steering_registry_failures_total',
      help: 'Announcements, reads and rows of the registry that failed.',
      labelNames: ['what'],
      registers,
    }),
  };
}
