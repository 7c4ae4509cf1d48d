import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { processTree } from '#bench/machine/process-tree.ts';

/** A server under measurement, held on one core. */
export type ServerProcess = {
  readonly name: string;
  readonly port: number;
  /** CPU time used so far by the processes that answer requests, µs. */
  cpuUs(): number;
  /** Resident memory after a collection of all garbage, bytes. Only of a Node process. */
  residentBytes(): Promise<number>;
  stop(): Promise<void>;
};

export type ServerCommand = {
  readonly name: string;
  readonly core: number;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The port in a line of its output that says that it is ready. */
  readonly ready: RegExp;
  /** Which of the processes below it count; all when left out. */
  readonly counts?: (commandLine: string) => boolean;
};

const READY_DEADLINE_MS = 60_000;
const COLLECTED_AFTER_MS = 700;
const NS_PER_US = 1_000;

/** Node with what {@link ServerProcess.residentBytes} needs. */
export const MEASURED_NODE = [
  process.execPath,
  '--expose-gc',
  '--import',
  fileURLToPath(new URL('../steering/collect-on-signal.ts', import.meta.url)),
] as const;

/**
 * Starts a server.
 *
 * @throws when it ends or does not say within a minute that it is ready
 */
export async function startServer(server: ServerCommand): Promise<ServerProcess> {
  const child = spawn('taskset', ['-c', String(server.core), ...server.command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...server.env },
  });
  const pid = child.pid ?? 0;
  const exited = once(child, 'exit');
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await exited;
  };
  const output: string[] = [];
  const port = new Promise<number>((resolve) => {
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on('line', (line) => {
        if (output.length < 50) output.push(line);
        const found = server.ready.exec(line)?.[1];
        if (found !== undefined) resolve(Number(found));
      });
  });
  const failed = Promise.race([exited, delay(READY_DEADLINE_MS, undefined, { ref: false })]).then(() => {
    throw new Error(`${server.name} is not ready:\n${output.join('\n')}`);
  });
  try {
    const counted = (): number[] =>
      processTree(pid)
        .filter(({ commandLine }) => server.counts?.(commandLine) ?? true)
        .map((info) => info.pid);
    return {
      name: server.name,
      port: await Promise.race([port, failed]),
      cpuUs: () => counted().reduce((sum, id) => sum + cpuUsOf(id), 0),
      residentBytes: async () => {
        child.kill('SIGUSR2');
        await delay(COLLECTED_AFTER_MS);
        return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1_024;
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** To the nanosecond, of all threads; the ticks of `/proc/pid/stat` are too coarse for a burst of some milliseconds. */
function cpuUsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, task) => {
    const [ns] = readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ');
    return sum + Number(ns) / NS_PER_US;
  }, 0);
}
