import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { Counter, Gauge } from 'prom-client';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { Disposable } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import {
  CLUSTER_USER,
  clusterMajor,
  openCluster,
  prepareFolder,
  type Cluster,
} from '#runtime/postgres/cluster-folder.ts';
import { readPostmasterPid } from '#runtime/postgres/cluster-processes.ts';
import { removeStalePidFile, stopClusterProcesses } from '#runtime/postgres/cluster-shutdown.ts';
import type { DatabaseTarget } from '#runtime/postgres/connection.ts';
import { FolderLock } from '#runtime/postgres/folder-lock.ts';
import { findPostgresBinaries, type PostgresBinaries } from '#runtime/postgres/postgres-binaries.ts';
import { PostgresLog } from '#runtime/postgres/postgres-log.ts';

export type EmbeddedPostgresDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
};

/** The server did not come up; the message ends with what it said. */
export class PostgresStartError extends Error {
  readonly code = 'postgres_start_failed';
  override readonly name = 'PostgresStartError';
}

/** Crash recovery of a small registry takes a second or two; a disk that needs longer than this is broken. */
const START_DEADLINE_MS = 60_000;
const READY_POLL_MS = 15;
const RESTART_DELAY_MIN_MS = 100;
const RESTART_DELAY_MAX_MS = 5_000;
/** A server that lived this long is restarted without the delay that a crash loop has earned. */
const STEADY_AFTER_MS = 30_000;
/** `sockaddr_un` holds 108 bytes, the closing zero included. */
const SOCKET_PATH_BYTES_MAX = 107;
const SOCKET_NAME = '.s.PGSQL.5432';
const CONNECTIONS_MAX = 40;

/**
 * A real PostgreSQL as our child, with everything it owns in one folder. It listens on a unix socket inside its data
 * folder, which only its own user and root may enter, and on no port. It is durable: fsync is on.
 *
 * When the server dies it is started again. When we are killed it stops by itself; whatever is left of it is stopped by
 * the next start. Two processes never share a folder.
 */
export class EmbeddedPostgres implements Disposable {
  /** Where to connect; stays the same when the server is restarted. */
  readonly target: DatabaseTarget;
  readonly #cluster: Cluster;
  readonly #binaries: PostgresBinaries;
  readonly #deps: EmbeddedPostgresDeps;
  readonly #lock: FolderLock;
  readonly #clusterHandle: number;
  readonly #up: Gauge;
  readonly #restarts: Counter;
  #child: ChildProcessByStdio<null, null, Readable> | undefined;
  #restartDelayMs = RESTART_DELAY_MIN_MS;
  #restartTimer: Timer | undefined;
  #launching: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  private constructor(
    cluster: Cluster,
    binaries: PostgresBinaries,
    lock: FolderLock,
    deps: EmbeddedPostgresDeps,
  ) {
    this.#cluster = cluster;
    this.#binaries = binaries;
    this.#lock = lock;
    this.#deps = deps;
    this.#clusterHandle = openSync(cluster.dir, 'r');
    const direct = join(cluster.dir, SOCKET_NAME);
    // Too deep a folder is reached through our handle on it.
    const path =
      Buffer.byteLength(direct) <= SOCKET_PATH_BYTES_MAX
        ? direct
        : `/proc/self/fd/${this.#clusterHandle}/${SOCKET_NAME}`;
    this.target = { path, user: CLUSTER_USER, database: 'postgres' };
    const registers = [deps.metrics];
    this.#up = new Gauge({
      name: 'embedded_postgres_up',
      help: 'Whether the embedded PostgreSQL has come up and not died since.',
      registers,
    });
    this.#restarts = new Counter({
      name: 'embedded_postgres_restarts_total',
      help: 'Times the embedded PostgreSQL died and was started again.',
      registers,
    });
  }

  /**
   * Starts the server on `folder`, creating its cluster the first time, and resolves when it accepts connections.
   *
   * @throws {FolderBusyError} another process uses the folder
   * @throws {ClusterFolderError} another user's folder, another major version's, or initdb failed
   * @throws {PostgresMissingError | UnreachablePathError} nothing to start here
   * @throws {PostgresStartError} it did not come up in time
   */
  static async start(
    options: { readonly folder: string; readonly binaries?: PostgresBinaries },
    deps: EmbeddedPostgresDeps,
  ): Promise<EmbeddedPostgres> {
    const folder = prepareFolder(options.folder);
    const binaries = options.binaries ?? findPostgresBinaries(clusterMajor(folder));
    const lock = FolderLock.acquire(join(folder, 'lock'));
    let started: EmbeddedPostgres | undefined;
    try {
      const cluster = await openCluster(folder, binaries, deps.logger);
      started = new EmbeddedPostgres(cluster, binaries, lock, deps);
      await started.#launch();
      return started;
    } catch (error) {
      if (started === undefined) lock.release();
      else await started.close();
      throw error;
    }
  }

  /** The postmaster's pid; undefined while there is none. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** A fast shutdown: open transactions are rolled back, what was committed is on the disk. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#restartTimer?.cancel();
    try {
      await stopClusterProcesses(this.#cluster.dir, this.#deps.logger);
      await this.#launching.catch(() => this.#up.set(0));
      // A launch that was under way may have brought up one more.
      await stopClusterProcesses(this.#cluster.dir, this.#deps.logger);
    } finally {
      closeSync(this.#clusterHandle);
      this.#lock.release();
    }
  }

  #launch(): Promise<void> {
    this.#launching = this.#start();
    return this.#launching;
  }

  async #start(): Promise<void> {
    const { dir, runAs, env } = this.#cluster;
    const { logger } = this.#deps;
    await stopClusterProcesses(dir, logger);
    removeStalePidFile(dir);
    const { file, args, user } = runAs.command(join(this.#binaries.binDir, 'postgres'), [
      '-D',
      dir,
      ...serverSettings(this.#binaries.major).flatMap((setting) => ['-c', setting]),
    ]);
    // In a session of its own: a Ctrl-C at the terminal is for us, the registry has things to write before it stops.
    const child = spawn(file, args, {
      ...user,
      cwd: '/',
      env,
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    this.#child = child;
    const log = new PostgresLog(child.stderr, logger);
    const exited: Promise<string> = once(child, 'exit').then(
      ([status, signal]) => `status ${String(status ?? signal)}`,
      (error: unknown) => (error as Error).message,
    );
    const startedMs = performance.now();
    await this.#ready(child, exited, log);
    this.#up.set(1);
    logger.info({ pid: child.pid, major: this.#binaries.major }, 'PostgreSQL is ready');
    void exited.then((how) => this.#died(how, performance.now() - startedMs));
  }

  async #ready(
    child: { pid?: number | undefined },
    exited: Promise<string>,
    log: PostgresLog,
  ): Promise<void> {
    let left: string | undefined;
    void exited.then((how) => (left = how));
    const endMs = performance.now() + START_DEADLINE_MS;
    for (;;) {
      if (left !== undefined)
        throw new PostgresStartError(`PostgreSQL ended while starting (${left}):\n${log.text}`);
      const postmaster = readPostmasterPid(this.#cluster.dir);
      if (postmaster?.pid === child.pid && postmaster?.status === 'ready') return;
      if (performance.now() > endMs)
        throw new PostgresStartError(`PostgreSQL took longer than ${START_DEADLINE_MS} ms:\n${log.text}`);
      await delay(READY_POLL_MS);
    }
  }

  #died(how: string, livedMs: number): void {
    this.#child = undefined;
    this.#up.set(0);
    if (this.#closing !== undefined) return;
    this.#deps.logger.error({ how, livedMs }, 'PostgreSQL died, starting it again');
    if (livedMs > STEADY_AFTER_MS) this.#restartDelayMs = RESTART_DELAY_MIN_MS;
    this.#scheduleRestart();
  }

  #scheduleRestart(): void {
    this.#restartTimer = this.#deps.clock.after(this.#restartDelayMs, () => {
      if (this.#closing !== undefined) return;
      this.#restarts.inc();
      this.#launch().catch((error: unknown) => {
        this.#deps.logger.error({ err: error }, 'PostgreSQL did not come back, trying again');
        if (this.#closing === undefined) this.#scheduleRestart();
      });
    });
    this.#restartDelayMs = Math.min(this.#restartDelayMs * 2, RESTART_DELAY_MAX_MS);
  }
}

/** A registry is small: little memory, no replication, no parallel queries, and logs that hold no values. */
function serverSettings(major: number): string[] {
  return [
    'listen_addresses=',
    'unix_socket_directories=.',
    'unix_socket_permissions=0700',
    `max_connections=${CONNECTIONS_MAX}`,
    'shared_buffers=16MB',
    'max_wal_size=128MB',
    'min_wal_size=32MB',
    'wal_level=minimal',
    'max_wal_senders=0',
    'max_logical_replication_workers=0',
    'max_parallel_workers_per_gather=0',
    'jit=off',
    'timezone=UTC',
    'log_timezone=UTC',
    'log_line_prefix=',
    'log_checkpoints=off',
    'log_error_verbosity=terse',
    'log_min_error_statement=panic',
    ...(major >= 18 ? ['io_method=sync'] : []),
  ];
}
