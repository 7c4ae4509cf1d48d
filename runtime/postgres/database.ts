import { Counter, Gauge } from 'prom-client';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { Disposable } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { Connection, type DatabaseTarget, type Sql } from '#runtime/postgres/connection.ts';
import {
  DatabaseUnavailableError,
  isStatementError,
  toUnavailable,
} from '#runtime/postgres/database-errors.ts';

export type DatabaseSettings = {
  /** Connections at most. */
  readonly connectionsMax: number;
  /** Operations that may wait for a connection; one more fails at once. */
  readonly waitingMax: number;
  /** Longest an operation may take, waiting for its connection included, in ms. */
  readonly operationDeadlineMs: number;
  /** How often it is asked whether it is there, in ms, when nothing else asks it. */
  readonly checkIntervalMs: number;
};

export const DEFAULT_DATABASE_SETTINGS: DatabaseSettings = {
  connectionsMax: 8,
  waitingMax: 200,
  operationDeadlineMs: 5_000,
  checkIntervalMs: 2_000,
};

export type DatabaseDeps = { readonly clock: Clock; readonly logger: Logger; readonly metrics: Metrics };

/** What an operation works with. */
export type Operation = {
  readonly sql: Sql;
  /** Runs a text of several statements without parameters, for migrations. */
  readonly script: (text: string) => Promise<unknown>;
};

const PROBE_DEADLINE_MS = 2_000;
const PROBE_INTERVAL_MIN_MS = 100;
const PROBE_INTERVAL_MAX_MS = 1_000;

type Waiter = { readonly resolve: (connection: Connection) => void; readonly reject: (error: Error) => void };

/**
 * A bounded pool of connections with deadlines. Once the database does not answer, every operation fails at once with
 * {@link DatabaseUnavailableError} until a probe gets through again: nobody waits for a server that is away.
 */
export class Database implements Disposable {
  readonly #target: DatabaseTarget;
  readonly #settings: DatabaseSettings;
  readonly #deps: DatabaseDeps;
  readonly #idle: Connection[] = [];
  readonly #waiters: Waiter[] = [];
  readonly #outcomes: Counter<'outcome'>;
  readonly #up: Gauge;
  readonly #drained = Promise.withResolvers<void>();
  #open = 0;
  #down: DatabaseUnavailableError | undefined;
  #probeTimer: Timer | undefined;
  #checkTimer: Timer | undefined;
  #wasUsed = false;
  #closed = false;

  constructor(target: DatabaseTarget, settings: DatabaseSettings, deps: DatabaseDeps) {
    this.#target = target;
    this.#settings = settings;
    this.#deps = deps;
    const registers = [deps.metrics];
    this.#outcomes = new Counter({
      name: 'database_operations_total',
      help: 'Operations on PostgreSQL by outcome: ok, statement_error or why it was not available.',
      labelNames: ['outcome'],
      registers,
    });
    this.#up = new Gauge({ name: 'database_up', help: 'Whether PostgreSQL answers.', registers });
    const waiting = () => this.#waiters.length;
    new Gauge({
      name: 'database_operations_waiting',
      help: 'Operations that wait for a connection.',
      registers,
      collect() {
        this.set(waiting());
      },
    });
    this.#up.set(1);
    this.#checkLater();
  }

  /** Whether the database answered last time; what is unknown counts as up. */
  get isUp(): boolean {
    return this.#down === undefined && !this.#closed;
  }

  /**
   * Runs statements one by one, each its own transaction.
   *
   * @throws {DatabaseUnavailableError}
   */
  run<Value>(work: (operation: Operation) => Promise<Value>, deadlineMs?: number): Promise<Value> {
    return this.#operate((connection) => work(connection), deadlineMs ?? this.#settings.operationDeadlineMs);
  }

  /**
   * Runs statements in one transaction, which is rolled back when `work` throws.
   *
   * @throws {DatabaseUnavailableError} also when it is not known whether the commit was done
   */
  transaction<Value>(work: (operation: Operation) => Promise<Value>, deadlineMs?: number): Promise<Value> {
    return this.#operate(async (connection) => {
      await connection.sql`begin`;
      let value: Value;
      try {
        value = await work(connection);
      } catch (error) {
        if (connection.usable) await connection.sql`rollback`;
        throw error;
      }
      await connection.sql`commit`;
      return value;
    }, deadlineMs ?? this.#settings.operationDeadlineMs);
  }

  /** Refuses everything new, lets what is under way finish within its deadline and closes the connections. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#probeTimer?.cancel();
    this.#checkTimer?.cancel();
    this.#rejectWaiters();
    await Promise.all(this.#idle.splice(0).map((connection) => this.#dispose(connection)));
    if (this.#open > 0) await this.#drained.promise;
  }

  /** The deadline takes the connection away, so that every statement of `work` fails at once. */
  async #operate<Value>(
    work: (connection: Connection) => Promise<Value>,
    deadlineMs: number,
  ): Promise<Value> {
    let expired = false;
    let giveUp = (): void => undefined;
    const timer = this.#deps.clock.after(deadlineMs, () => {
      expired = true;
      giveUp();
    });
    let connection: Connection | undefined;
    try {
      connection = await this.#acquire((cancel) => (giveUp = cancel));
      giveUp = connection.discard.bind(connection);
      const value = await work(connection);
      this.#outcomes.inc({ outcome: 'ok' });
      this.#wasUsed = true;
      return value;
    } catch (error) {
      throw this.#judge(error, connection, expired, deadlineMs);
    } finally {
      timer.cancel();
      if (connection !== undefined) this.#release(connection);
    }
  }

  #judge(error: unknown, connection: Connection | undefined, expired: boolean, deadlineMs: number): unknown {
    const failure = expired
      ? new DatabaseUnavailableError('deadline', `the database took longer than ${deadlineMs} ms`, error)
      : toUnavailable(error);
    if (failure === undefined) {
      this.#outcomes.inc({ outcome: isStatementError(error) ? 'statement_error' : 'refused' });
      return error;
    }
    this.#outcomes.inc({ outcome: failure.reason });
    connection?.discard();
    if (failure.reason === 'down' || (expired && connection !== undefined)) this.#markDown(failure);
    return failure;
  }

  #acquire(onWait: (cancel: () => void) => void): Promise<Connection> {
    if (this.#closed) return Promise.reject(closed());
    if (this.#down !== undefined) return Promise.reject(away(this.#down));
    for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
      if (connection.usable) return Promise.resolve(connection);
      this.#open--;
    }
    if (this.#open < this.#settings.connectionsMax) return Promise.resolve(this.#connect());
    if (this.#waiters.length >= this.#settings.waitingMax)
      return Promise.reject(
        new DatabaseUnavailableError('busy', 'too many operations wait for the database'),
      );
    const { promise, resolve, reject } = Promise.withResolvers<Connection>();
    const waiter = { resolve, reject };
    this.#waiters.push(waiter);
    onWait(() => {
      const index = this.#waiters.indexOf(waiter);
      if (index !== -1) this.#waiters.splice(index, 1);
      reject(new DatabaseUnavailableError('busy', 'waited too long for a connection'));
    });
    return promise;
  }

  #connect(): Connection {
    this.#open++;
    return new Connection(this.#target, this.#deps.logger);
  }

  #release(connection: Connection): void {
    const waiter = this.#waiters.shift();
    if (!connection.usable) this.#forget();
    if (waiter !== undefined) waiter.resolve(connection.usable ? connection : this.#connect());
    else if (!connection.usable) return;
    else if (this.#closed) void this.#dispose(connection);
    else this.#idle.push(connection);
  }

  async #dispose(connection: Connection): Promise<void> {
    await connection.close();
    this.#forget();
  }

  #forget(): void {
    this.#open--;
    if (this.#closed && this.#open === 0) this.#drained.resolve();
  }

  #rejectWaiters(): void {
    for (const waiter of this.#waiters.splice(0)) waiter.reject(this.#closed ? closed() : away(this.#down));
  }

  /** Without this a database that nobody uses just now would count as up for as long. */
  #checkLater(): void {
    if (this.#closed) return;
    this.#checkTimer = this.#deps.clock.after(this.#settings.checkIntervalMs, () => {
      const isKnown = this.#wasUsed || this.#down !== undefined;
      this.#wasUsed = false;
      if (isKnown) return this.#checkLater();
      const check = this.run(({ sql }) => sql`select 1`, PROBE_DEADLINE_MS);
      return void check.catch(() => undefined).then(() => this.#checkLater());
    });
  }

  #markDown(failure: DatabaseUnavailableError): void {
    if (this.#down !== undefined || this.#closed) return;
    this.#down = failure;
    this.#up.set(0);
    this.#deps.logger.warn({ err: failure }, 'the database is away');
    this.#rejectWaiters();
    for (const connection of this.#idle.splice(0)) {
      connection.discard();
      this.#forget();
    }
    this.#probeAfter(0, PROBE_INTERVAL_MIN_MS);
  }

  #probeAfter(delayMs: number, intervalMs: number): void {
    this.#probeTimer = this.#deps.clock.after(delayMs, () => void this.#probe(intervalMs));
  }

  async #probe(intervalMs: number): Promise<void> {
    const connection = new Connection(this.#target, this.#deps.logger);
    const timer = this.#deps.clock.after(PROBE_DEADLINE_MS, () => connection.discard());
    try {
      await connection.sql`select 1`;
    } catch (error) {
      connection.discard();
      this.#deps.logger.debug({ err: error }, 'the database is still away');
      if (!this.#closed) this.#probeAfter(intervalMs, Math.min(intervalMs * 2, PROBE_INTERVAL_MAX_MS));
      return;
    } finally {
      timer.cancel();
    }
    connection.discard();
    if (this.#closed) return;
    this.#down = undefined;
    this.#up.set(1);
    this.#deps.logger.info('the database is back');
  }
}

function closed(): DatabaseUnavailableError {
  return new DatabaseUnavailableError('closed', 'the database is being closed');
}

function away(cause: unknown): DatabaseUnavailableError {
  return new DatabaseUnavailableError('away', 'the database is away', cause);
}
