import { existsSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

/** What a running postmaster writes into its data folder. @see PostgreSQL, src/include/utils/pidfile.h */
export type PostmasterPid = {
  readonly pid: number;
  /** `starting`, `stopping`, `ready` or `standby`; empty in the first moments. */
  readonly status: string;
};

const PID_LINE = 0;
const STATUS_LINE = 7;

/** Reads `postmaster.pid`; undefined when there is none or it is still being written. */
export function readPostmasterPid(clusterDir: string): PostmasterPid | undefined {
  let lines: string[];
  try {
    lines = readFileSync(join(clusterDir, 'postmaster.pid'), 'utf8').split('\n');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const pid = Math.abs(Number.parseInt(lines[PID_LINE] ?? '', 10));
  return Number.isInteger(pid) && pid > 0 ? { pid, status: (lines[STATUS_LINE] ?? '').trim() } : undefined;
}

/**
 * The server processes of a data folder, postmaster and backends: they have it as their working directory. Tells a live
 * server from a pid that now belongs to somebody else, which happens after every restart of a container.
 *
 * Root without CAP_SYS_PTRACE (a plain container) cannot see working directories; it finds the postmaster by its
 * command line only.
 *
 * @param clusterDir without symbolic links in it
 */
export function findClusterProcesses(clusterDir: string): number[] {
  if (!existsSync('/proc')) return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && isServerOf(name, clusterDir))
    .map(Number);
}

/** Whether a pid belongs to some PostgreSQL server process, of whatever data folder. */
export function isPostgres(pid: number | string): boolean {
  return readIfThere(() => readFileSync(`/proc/${pid}/comm`, 'utf8')) === 'postgres\n';
}

function isServerOf(pid: string, clusterDir: string): boolean {
  if (!isPostgres(pid)) return false;
  const workingDir = readIfThere(() => readlinkSync(`/proc/${pid}/cwd`));
  if (workingDir !== undefined) return workingDir === clusterDir;
  const commandLine = readIfThere(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
  return commandLine?.split('\0').includes(clusterDir) ?? false;
}

const GONE_OR_CLOSED = new Set(['ENOENT', 'ESRCH', 'EACCES', 'EPERM']);

/** A process may be gone by the time it is looked at, or be closed to us; both read as undefined. */
function readIfThere(read: () => string): string | undefined {
  try {
    return read();
  } catch (error) {
    if (GONE_OR_CLOSED.has((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

/** Sends a signal; false when the process is gone. */
export function signalProcess(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** When a process began, in clock ticks since boot: with the pid it names one process for good. */
export function readProcessStart(pid: number): string | undefined {
  // The name in parentheses may hold spaces; the start time is the 20th field after it (proc(5), field 22).
  const stat = readIfThere(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}
