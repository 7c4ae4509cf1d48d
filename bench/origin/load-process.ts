import { setTimeout as delay } from 'node:timers/promises';
import { LoadConnection } from '#bench/origin/load-connection.ts';

/**
 * The load of an origin bench, in a process of its own: takes one {@link LoadOrder} after the other over its IPC channel
 * and answers each with a {@link LoadResult}.
 *
 * `open`: opens connections. `hold`: sends a request on each of them, which the server is to hold. `release`: sends the
 * request that releases them and times their answers; meanwhile a few other connections ask for something else, one
 * request after the other. `sustained`: every connection asks again as soon as it is answered. `abort`: opens connections,
 * sends a request on each and resets them, again and again. `close`: closes what is open.
 */
export type LoadOrder =
  | { readonly do: 'open'; readonly port: number; readonly connections: number }
  | { readonly do: 'hold'; readonly request: string }
  /** Requests are in base64. */
  | {
      readonly do: 'release';
      readonly port: number;
      readonly release: string;
      readonly probe: string;
      readonly probes: number;
    }
  | {
      readonly do: 'sustained';
      readonly port: number;
      readonly request: string;
      readonly connections: number;
      readonly seconds: number;
    }
  | { readonly do: 'abort'; readonly port: number; readonly request: string; readonly connections: number }
  | { readonly do: 'close' };

export type LoadResult = {
  readonly answers: number;
  readonly seconds: number;
  /** CPU time of this process meanwhile, µs. */
  readonly cpuUs: number;
  /** `release`: from when the request was written to the last byte of each answer, ms. */
  readonly answeredMs: readonly number[];
  /** `release`: of the other requests meanwhile, ms. */
  readonly probeMs: readonly number[];
};

const RELEASE_DEADLINE_MS = 20_000;
/** How long the other requests run before the release. */
const PROBE_WARM_UP_MS = 100;
const HELD_MS = 300;

type Part = Partial<LoadResult>;
let open: LoadConnection[] = [];

async function carryOut(order: LoadOrder): Promise<Part> {
  switch (order.do) {
    case 'open':
      open = await LoadConnection.openAll(order.port, order.connections);
      return { answers: open.length };
    case 'hold': {
      const request = Buffer.from(order.request, 'base64');
      for (const connection of open) connection.send(request);
      return {};
    }
    case 'release':
      return release(order);
    case 'sustained':
      return sustained(order);
    case 'abort': {
      const connections = await LoadConnection.openAll(order.port, order.connections);
      const request = Buffer.from(order.request, 'base64');
      for (const connection of connections) connection.send(request);
      await delay(HELD_MS);
      for (const connection of connections) connection.close();
      return { answers: connections.length };
    }
    case 'close':
      for (const connection of open) connection.close();
      open = [];
      return {};
  }
}

async function release(order: Extract<LoadOrder, { do: 'release' }>): Promise<Part> {
  const answeredMs: number[] = [];
  const probeMs: number[] = [];
  const probe = Buffer.from(order.probe, 'base64');
  const put = Buffer.from(order.release, 'base64');
  const publisher = await LoadConnection.open(order.port);
  const probes = await LoadConnection.openAll(order.port, order.probes);
  let startMs = Number.POSITIVE_INFINITY;
  let over = false;
  for (const connection of probes) {
    let sentMs = performance.now();
    const ask = (): void => {
      sentMs = performance.now();
      connection.send(probe);
    };
    connection.onAnswer = () => {
      const nowMs = performance.now();
      if (nowMs >= startMs && !over) probeMs.push(nowMs - sentMs);
      // Not at once: a closed loop of a few would be a load of its own.
      if (!over) setTimeout(ask, 1);
    };
    ask();
  }
  await delay(PROBE_WARM_UP_MS);
  const all = new Promise<void>((resolve) => {
    const count = open.length;
    for (const connection of open)
      connection.onAnswer = () => {
        if (answeredMs.push(performance.now() - startMs) === count) resolve();
      };
  });
  startMs = performance.now();
  publisher.send(put);
  const late = delay(RELEASE_DEADLINE_MS, undefined, { ref: false }).then(() => {
    throw new Error(`only ${answeredMs.length} of ${open.length} were answered`);
  });
  await Promise.race([all, late]);
  over = true;
  for (const connection of [publisher, ...probes]) connection.close();
  return { answers: answeredMs.length, answeredMs, probeMs };
}

async function sustained(order: Extract<LoadOrder, { do: 'sustained' }>): Promise<Part> {
  const request = Buffer.from(order.request, 'base64');
  const connections = await LoadConnection.openAll(order.port, order.connections);
  let answers = 0;
  for (const connection of connections) {
    connection.onAnswer = () => {
      answers++;
      connection.send(request);
    };
    connection.send(request);
  }
  await delay(order.seconds * 1_000);
  for (const connection of connections) connection.close();
  return { answers };
}

process.on('message', (order: LoadOrder) => {
  const startMs = performance.now();
  const before = process.cpuUsage();
  void carryOut(order).then((part) => {
    const { user, system } = process.cpuUsage(before);
    const seconds = (performance.now() - startMs) / 1_000;
    process.send?.({ answers: 0, answeredMs: [], probeMs: [], ...part, seconds, cpuUs: user + system });
  });
});
