import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTestPostgres, type TestPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

export const ADMIN_TOKEN = 'admin-token-of-the-tests';
export const INGEST_TOKEN = 'ingest-token-of-the-tests';

/** One origin of an installation, in a process of its own. */
export type OriginNode = {
  readonly url: string;
  /** Starts it, and waits until it is ready. */
  start(): Promise<void>;
  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void>;
  /** SIGTERM, and waits until it is gone; the exit code. */
  stop(): Promise<number | null>;
  /** SIGSTOP: it hangs, with all its sockets open. */
  pause(): void;
  resume(): void;
  /** What it has logged. */
  log(): string;
  /** The sum of a counter or gauge over its labels, or over those that hold `label`. */
  metric(name: string, label?: string): Promise<number>;
  call(method: string, path: string, body?: object, token?: string): Promise<Response>;
};

/** Several origins on one database and one Redis. */
export type OriginNodes = {
  readonly nodes: readonly OriginNode[];
  readonly postgres: TestPostgres;
  /** Waits until each of the running origins knows all others that run. */
  settled(running?: readonly OriginNode[]): Promise<void>;
  close(): Promise<void>;
};

export async function startOriginNodes(
  count: number,
  redisUrl: string,
  env: Readonly<Record<string, string>> = {},
): Promise<OriginNodes> {
  const folder = mkdtempSync(join(tmpdir(), 'livehls-origins-'));
  const postgres = await startTestPostgres();
  const database = await serveSocket((postgres.server.target as { path: string }).path);
  const { user, database: name } = postgres.server.target as { user: string; database: string };
  const databaseUrl = `postgres://${user}@127.0.0.1:${(database.address() as AddressInfo).port}/${name}`;
  const nodes: OriginNode[] = [];
  for (let index = 0; index < count; index++)
    nodes.push(
      createNode(await freePort(), {
        ADMIN_TOKEN,
        INGEST_TOKEN,
        REDIS_URL: redisUrl,
        DATABASE_URL: databaseUrl,
        ORIGIN_KEY_PEPPER: 'pepper-of-the-tests-that-is-long-enough',
        ACCESS_TOKEN_KEYS: `k1:${Buffer.alloc(32, 7).toString('base64url')}`,
        ORIGIN_HOST: '127.0.0.1',
        ORIGIN_PLAYER: 'no',
        LOG_LEVEL: 'info',
        DATA_DIR: join(folder, String(index)),
        OBJECT_STORE: join(folder, 'objects'),
        ...env,
      }),
    );
  // One after the other: the first one brings the database up to date.
  for (const node of nodes) await node.start();
  const settled = async (running: readonly OriginNode[] = nodes): Promise<void> => {
    for (const node of running)
      await waitFor(`${node.url} to know its peers`, async () => {
        return (await node.metric('origin_cluster_peers')) === running.length - 1;
      });
  };
  await settled();
  return {
    nodes,
    postgres,
    settled,
    close: async () => {
      await Promise.all(nodes.map((node) => node.kill()));
      database.close();
      await postgres.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function createNode(port: number, env: Readonly<Record<string, string>>): OriginNode {
  const url = `http://127.0.0.1:${port}`;
  let child: ChildProcess | undefined;
  let log = '';
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    const ending = child;
    child = undefined;
    if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return null;
    const exited = once(ending, 'exit') as Promise<[number | null]>;
    ending.kill(signal);
    const [code] = await exited;
    return code;
  };
  return {
    url,
    start: async () => {
      const starting = spawn(process.execPath, ['origin/main.ts'], {
        env: { PATH: process.env['PATH'], ...env, ORIGIN_PORT: String(port), ORIGIN_NODE_URL: url },
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      child = starting;
      starting.stderr?.on('data', (chunk: Buffer) => {
        log = `${log}${chunk.toString()}`.slice(-200_000);
      });
      await waitFor(
        `${url} to be ready`,
        async () => {
          if (starting.exitCode !== null) throw new Error(`the origin has ended:\n${log}`);
          return (await fetch(`${url}/readyz`)).ok;
        },
        { deadlineMs: 20_000, intervalMs: 100 },
      );
    },
    kill: async () => void (await end('SIGKILL')),
    stop: () => end('SIGTERM'),
    pause: () => void child?.kill('SIGSTOP'),
    resume: () => void child?.kill('SIGCONT'),
    log: () => log,
    metric: async (metric, label = '') => {
      const text = await (await fetch(`${url}/metrics`)).text();
      return text
        .split('\n')
        .filter((line) => line.startsWith(`${metric}{`) && line.includes(label))
        .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
    },
    call: (method, path, body, token = ADMIN_TOKEN) =>
      fetch(`${url}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
  };
}

/** Opens a TCP port on a server that listens on a socket file. */
async function serveSocket(path: string): Promise<Server> {
  const server = createServer((client) => {
    const upstream = connect(path);
    client.pipe(upstream).pipe(client);
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
