import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '#runtime/log.ts';
import {
  findClusterProcesses,
  isPostgres,
  readPostmasterPid,
  signalProcess,
} from '#runtime/postgres/cluster-processes.ts';

/** A server that does not even leave on SIGKILL: its disk hangs. */
export class PostgresStuckError extends Error {
  readonly code = 'postgres_stuck';
  override readonly name = 'PostgresStuckError';
}

/** What a postmaster is told, one after the other, and how long it may take: fast, immediate, kernel. */
const STEPS: readonly { readonly signal: NodeJS.Signals; readonly waitMs: number }[] = [
  { signal: 'SIGINT', waitMs: 4_000 },
  { signal: 'SIGQUIT', waitMs: 1_000 },
  { signal: 'SIGKILL', waitMs: 1_000 },
];
const POLL_MS = 15;

/**
 * Stops every server process of a data folder and resolves when none is left. Backends whose postmaster is dead leave
 * by themselves, but while one is there a new server must not start.
 *
 * @throws {PostgresStuckError} when some process outlives SIGKILL
 */
export async function stopClusterProcesses(clusterDir: string, logger: Logger): Promise<void> {
  for (const { signal, waitMs } of STEPS) {
    const pids = findClusterProcesses(clusterDir);
    if (pids.length === 0) return;
    const postmaster = pids.find((pid) => pid === readPostmasterPid(clusterDir)?.pid);
    if (signal !== 'SIGINT') logger.warn({ signal, pids }, 'PostgreSQL is slow to stop');
    for (const pid of postmaster === undefined || signal === 'SIGKILL' ? pids : [postmaster])
      signalProcess(pid, postmaster === undefined && signal === 'SIGINT' ? 'SIGTERM' : signal);
    const endMs = performance.now() + waitMs;
    while (performance.now() < endMs) {
      if (findClusterProcesses(clusterDir).length === 0) return;
      await delay(POLL_MS);
    }
  }
  throw new PostgresStuckError(`PostgreSQL on ${clusterDir} does not stop`);
}

/**
 * Removes the pid file of a server that is gone when its pid has come into other hands: PostgreSQL itself would take
 * those for a running server. Otherwise the file stays, the next server checks its shared memory by it.
 */
export function removeStalePidFile(clusterDir: string): void {
  const left = readPostmasterPid(clusterDir);
  if (left === undefined || isPostgres(left.pid) || !signalProcess(left.pid, 0)) return;
  rmSync(join(clusterDir, 'postmaster.pid'));
}
