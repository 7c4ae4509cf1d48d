import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** A steering server in a process of its own, held on one core. */
export type SteeringProcess = {
  readonly url: string;
  readonly port: number;
  /** CPU time that the process has used so far, ms; that of its database not counted. */
  cpuMs(): Promise<number>;
  /** Resident memory and used heap after a collection of all garbage, bytes. */
  memory(): Promise<{ readonly residentBytes: number; readonly heapBytes: number }>;
  stop(): Promise<void>;
};

const MAIN = fileURLToPath(new URL('../../steering/main.ts', import.meta.url));
const COLLECT = fileURLToPath(new URL('collect-on-signal.ts', import.meta.url));
const COLLECTED_AFTER_MS = 500;
const READY_DEADLINE_MS = 60_000;
const CDN_COUNT = 8;
const TICKS_PER_SECOND = 100;

/**
 * Starts the server with a new data folder and eight CDNs, without probes.
 *
 * @throws when it ends or is not ready within a minute
 */
export async function startSteering(core: number): Promise<SteeringProcess> {
  const dataDir = await mkdtemp(join(tmpdir(), 'bench-steering-'));
  const adminToken = randomBytes(24).toString('base64url');
  const node = [process.execPath, '--expose-gc', '--import', COLLECT, MAIN];
  const child = spawn('taskset', ['-c', String(core), ...node], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      ...process.env,
      ADMIN_TOKEN: adminToken,
      DATA_DIR: dataDir,
      STEERING_PORT: '0',
      STEERING_HOST: '127.0.0.1',
      STEERING_PROBE_ENABLED: 'false',
      STEERING_EVENT_AFTER_CHANGE_S: '0',
      LOG_LEVEL: 'info',
    },
  });
  const pid = child.pid ?? 0;
  const exited = once(child, 'exit');
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await exited;
    await rm(dataDir, { recursive: true, force: true });
  };
  try {
    const url = await readyUrl(child.stderr, exited);
    await addCdns(url, adminToken);
    return {
      url,
      port: Number(new URL(url).port),
      cpuMs: async () => {
        const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
        return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND;
      },
      memory: async () => {
        child.kill('SIGUSR2');
        await delay(COLLECTED_AFTER_MS);
        const metrics = await (await fetch(`${url}/metrics`)).text();
        return {
          residentBytes: metric(metrics, 'process_resident_memory_bytes'),
          heapBytes: metric(metrics, 'nodejs_heap_size_used_bytes'),
        };
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function readyUrl(log: NodeJS.ReadableStream, exited: Promise<unknown>): Promise<string> {
  const lines = createInterface({ input: log });
  const url = new Promise<string>((resolve) => {
    lines.on('line', (line) => {
      const found = /"url":"(http:[^"]+)".*"steering is ready"/.exec(line)?.[1];
      if (found !== undefined) resolve(found);
    });
  });
  const late = new Promise<never>((_, reject) => {
    setTimeout(
      () => reject(new Error('the steering server was not ready in time')),
      READY_DEADLINE_MS,
    ).unref();
  });
  const ended = exited.then(() => {
    throw new Error('the steering server ended before it was ready');
  });
  return Promise.race([url, late, ended]);
}

async function addCdns(url: string, adminToken: string): Promise<void> {
  for (let i = 0; i < CDN_COUNT; i++) {
    const body = {
      name: `cdn-${i}`,
      baseUrl: `https://cdn-${i}.example`,
      weight: 10 + 10 * i,
      reason: 'bench',
    };
    const response = await fetch(`${url}/api/v1/cdns`, {
      method: 'POST',
      headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (response.status !== 201) throw new Error(`adding a CDN answered ${response.status}`);
  }
}

function metric(text: string, name: string): number {
  return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
}
