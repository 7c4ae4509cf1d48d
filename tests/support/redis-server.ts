import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Redis } from 'ioredis';
import { waitFor } from './wait-for.ts';

/** A real redis-server in a folder of its own, on a free port of the loopback, that keeps nothing on disk. */
export type TestRedis = {
  readonly url: string;
  readonly port: number;
  /** Stops it (SIGSTOP) or lets it go on: a server that hangs. */
  pause(): void;
  resume(): void;
  /** Kills it without warning; resolves when it is gone. */
  kill(): Promise<void>;
  /** Starts it again on the same port, empty; harmless while it runs. */
  start(): Promise<void>;
  close(): Promise<void>;
};

/** Starts a server and waits until it answers. */
export async function startRedis(options: { readonly cluster?: boolean } = {}): Promise<TestRedis> {
  const folder = await mkdtemp(path.join(tmpdir(), 'redis-'));
  const port = await freePort(options.cluster === true);
  const place = `--port ${port} --bind 127.0.0.1 --dir ${folder} --daemonize no`.split(' ');
  const cluster = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '1000'];
  const args = [...place, '--save', '', '--appendonly', 'no', ...(options.cluster === true ? cluster : [])];
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    if (child !== undefined) return;
    child = spawn('redis-server', args, { stdio: 'ignore' });
    await waitFor('redis-server to answer', () => ping(port));
  };
  const kill = async (): Promise<void> => {
    const dying = child;
    child = undefined;
    if (dying === undefined || dying.exitCode !== null) return;
    dying.kill('SIGKILL');
    await once(dying, 'exit');
  };
  await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    pause: () => void child?.kill('SIGSTOP'),
    resume: () => void child?.kill('SIGCONT'),
    kill,
    start,
    close: async () => {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A cluster of three masters, the first three of its nodes, with or without a replica each. */
export type TestRedisCluster = {
  readonly url: string;
  readonly nodes: readonly TestRedis[];
  close(): Promise<void>;
};

/** Starts three masters, each with `replicas` replicas, and waits until the cluster is whole. */
export async function startRedisCluster(replicas = 0): Promise<TestRedisCluster> {
  const nodes: TestRedis[] = [];
  const nodeCount = 3 * (1 + replicas);
  for (let i = 0; i < nodeCount; i++) nodes.push(await startRedis({ cluster: true }));
  const addresses = nodes.map((node) => `127.0.0.1:${node.port}`);
  const close = async (): Promise<void> => {
    for (const node of nodes) await node.close();
  };
  const creating = spawn(
    'redis-cli',
    ['--cluster', 'create', ...addresses, '--cluster-replicas', String(replicas), '--cluster-yes'],
    {
      stdio: 'ignore',
    },
  );
  const [status] = (await once(creating, 'exit')) as [number | null];
  if (status !== 0) {
    await close();
    throw new Error(`redis-cli --cluster create ended with ${status}`);
  }
  for (const node of nodes)
    await waitFor('the cluster to be whole', async () => {
      const info = await ask(node.port, (redis) => redis.cluster('INFO'));
      return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${nodeCount}`);
    });
  return { url: `redis+cluster://${addresses.join(',')}`, nodes, close };
}

async function ping(port: number): Promise<boolean> {
  return (await ask(port, (redis) => redis.ping())) === 'PONG';
}

async function ask<Answer>(port: number, question: (redis: Redis) => Promise<Answer>): Promise<Answer> {
  const redis = new Redis(port, '127.0.0.1', { retryStrategy: () => null, lazyConnect: true });
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    return await question(redis);
  } finally {
    redis.disconnect();
  }
}

/** A cluster node also takes the port 10,000 above its own. */
async function freePort(cluster: boolean): Promise<number> {
  for (;;) {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    if (!cluster || port < 55_000) return port;
  }
}
