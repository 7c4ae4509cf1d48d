import { PlayerConnection } from '#bench/steering/player-connection.ts';

/**
 * The load of a steering bench, in a process of its own: `node load-process.ts '{"port":…}'` prints one line of JSON.
 *
 * `sustained`: every connection asks again as soon as it is answered, with the token it was given. `paced`: requests start
 * at a fixed rate whatever the server does, and each is timed from when it should have started, so that a stall of the
 * server counts against every request that it delays. `fresh`: every request is a session that never was before.
 */
export type LoadOrder = {
  readonly port: number;
  readonly mode: 'sustained' | 'paced' | 'fresh';
  readonly connections: number;
  /** `sustained`, `paced`: how long. */
  readonly seconds: number;
  /** `paced`: requests per second in all. */
  readonly perSecond: number;
  /** `fresh`: requests in all. */
  readonly requests: number;
};

export type LoadResult = {
  readonly answers: number;
  readonly seconds: number;
  /** CPU time of this process meanwhile, ms. */
  readonly cpuMs: number;
  /** `paced`: milliseconds from when each request should have started to its answer. */
  readonly latenciesMs: readonly number[];
};

/** The first seconds of a paced run do not count: this process is still being compiled and would time itself. */
const WARM_UP_S = 2;
const STREAM = '/steering/v1/bench';
const REPORT = '&_HLS_pathway=cdn-3&_HLS_throughput=12345678';

async function load(order: LoadOrder): Promise<LoadResult> {
  const connections = await Promise.all(
    Array.from({ length: order.connections }, () => PlayerConnection.open(order.port)),
  );
  const startMs = performance.now();
  const before = process.cpuUsage();
  const result = await { sustained, paced, fresh }[order.mode](connections, order);
  const seconds = (performance.now() - startMs) / 1_000;
  const { user, system } = process.cpuUsage(before);
  for (const connection of connections) connection.close();
  return { ...result, seconds, cpuMs: (user + system) / 1_000 };
}

type Part = Pick<LoadResult, 'answers' | 'latenciesMs'>;

async function sustained(connections: readonly PlayerConnection[], { seconds }: LoadOrder): Promise<Part> {
  const endMs = performance.now() + seconds * 1_000;
  let answers = 0;
  await Promise.all(
    connections.map(async (connection) => {
      let path = await connection.ask(STREAM);
      while (performance.now() < endMs) {
        path = await connection.ask(path + REPORT);
        answers++;
      }
    }),
  );
  return { answers, latenciesMs: [] };
}

async function fresh(connections: readonly PlayerConnection[], { requests }: LoadOrder): Promise<Part> {
  let left = requests;
  await Promise.all(
    connections.map(async (connection) => {
      while (left-- > 0) await connection.ask(STREAM);
    }),
  );
  return { answers: requests, latenciesMs: [] };
}

async function paced(
  connections: readonly PlayerConnection[],
  { seconds, perSecond }: LoadOrder,
): Promise<Part> {
  const latenciesMs: number[] = [];
  const idle = await Promise.all(
    connections.map(async (connection) => ({ connection, path: await connection.ask(STREAM) })),
  );
  const startMs = performance.now();
  const warmUp = WARM_UP_S * perSecond;
  const total = warmUp + Math.round(seconds * perSecond);
  const dueMs = (index: number): number => startMs + (index * 1_000) / perSecond;
  const underWay = new Set<Promise<void>>();
  let next = 0;
  while (next < total) {
    while (next < total && dueMs(next) <= performance.now() && idle.length > 0) {
      const player = idle.shift()!;
      const index = next++;
      const shouldStartMs = dueMs(index);
      const asking = player.connection.ask(player.path + REPORT).then((path) => {
        if (index >= warmUp) latenciesMs.push(performance.now() - shouldStartMs);
        idle.push({ connection: player.connection, path });
        underWay.delete(asking);
      });
      underWay.add(asking);
    }
    // A timer is too coarse for thousands a second; this process has a core to itself.
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(underWay);
  return { answers: latenciesMs.length, latenciesMs };
}

const result = await load(JSON.parse(process.argv[2] ?? '{}') as LoadOrder);
process.stdout.write(`${JSON.stringify(result)}\n`);
