import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { processTree } from '#bench/machine/process-tree.ts';

/** The whole system as `npm start` runs it, in a process of its own on free ports. */
export type SystemProcess = {
  readonly pid: number;
  /** `http://127.0.0.1:port`. */
  readonly originUrl: string;
  /** `http://127.0.0.1:port` of the edge. */
  readonly edgeUrl: string;
  /** `rtmp://127.0.0.1:port/app`; a stream key comes after it. */
  readonly rtmpUrl: string;
  readonly adminToken: string;
  /** What it printed, standard output and error together; the newest 256 KiB. */
  output(): string;
  /** Ends it as Ctrl-C does. @throws when it takes longer than 10 s or leaves a process behind */
  stop(): Promise<void>;
};

/** Settings by environment variable name, beside the ports and the data folder. */
export type SystemSettings = Readonly<Record<string, string>>;

const MAIN = fileURLToPath(new URL('../../all-in-one/main.ts', import.meta.url));
const READY_DEADLINE_MS = 60_000;
const STOP_DEADLINE_MS = 10_000;
const OUTPUT_BYTES_MAX = 256 * 1024;

/**
 * Starts the system on free ports with a new data folder, and waits until it is ready.
 *
 * @throws with its output when it ends before that, or is not ready within 60 s
 */
export async function startSystem(settings: SystemSettings = {}): Promise<SystemProcess> {
  const dataDir = await mkdtemp(join(tmpdir(), 'live-system-'));
  const adminToken = randomBytes(24).toString('base64url');
  const ports = {
    RTMP_PORT: '0',
    ORIGIN_PORT: '0',
    TRANSCODER_PORT: '0',
    STEERING_PORT: '0',
    EDGE_PORT: '0',
  };
  // A measured system has no CDN but those that the measurement brings.
  const cdns = { LOCAL_CDNS: 'off', LOCAL_CDN_PORTS: '0,0' };
  const child = spawn(process.execPath, [MAIN], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...ports, ...cdns, ADMIN_TOKEN: adminToken, DATA_DIR: dataDir, ...settings },
  });
  let output = '';
  const keep = (bytes: Buffer): void => {
    output = (output + bytes.toString()).slice(-OUTPUT_BYTES_MAX);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const exited = once(child, 'exit');
  const stop = async (): Promise<void> => {
    const descendants = processTree(child.pid ?? 0).map(({ pid }) => pid);
    child.kill('SIGINT');
    const force = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS + 2_000);
    const startMs = performance.now();
    await exited;
    clearTimeout(force);
    await rm(dataDir, { recursive: true, force: true });
    const tookMs = performance.now() - startMs;
    const left = descendants.filter((pid) => processTree(pid).length > 0);
    for (const pid of left) process.kill(pid, 'SIGKILL');
    if (tookMs > STOP_DEADLINE_MS) throw new Error(`the system took ${tookMs} ms to end`);
    if (left.length > 0) throw new Error(`the system left ${left.length} processes behind\n${output}`);
  };
  try {
    const urls = await ready(() => output, exited);
    return { pid: child.pid ?? 0, ...urls, adminToken, output: () => output, stop };
  } catch (error) {
    if (child.exitCode === null) await stop();
    throw error;
  }
}

async function ready(
  output: () => string,
  exited: Promise<unknown>,
): Promise<Pick<SystemProcess, 'originUrl' | 'edgeUrl' | 'rtmpUrl'>> {
  let ended = false;
  void exited.then(() => {
    ended = true;
  });
  const endMs = performance.now() + READY_DEADLINE_MS;
  while (!ended && performance.now() < endMs) {
    // The summary is printed when everything is ready, see `all-in-one/summary.ts`.
    const originUrl = /^ *Watch +(http:\/\/\S+)\/$/m.exec(output())?.[1];
    const rtmpUrl = /^ *RTMP server +(rtmp:\/\/\S+)$/m.exec(output())?.[1];
    const edgeUrl = /^ *Edge +(http:\/\/\S+)\/live\//m.exec(output())?.[1];
    if (originUrl !== undefined && edgeUrl !== undefined && rtmpUrl !== undefined)
      return { originUrl, edgeUrl, rtmpUrl };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(
    `the system ${ended ? 'ended before it was ready' : 'was not ready in time'}:\n${output()}`,
  );
}
