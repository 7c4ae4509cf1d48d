import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { RedisBus } from '#runtime/bus/redis-bus.ts';
import { parseRedisUrl } from '#runtime/bus/redis-client.ts';
import { systemClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics, type Metrics } from '#runtime/metrics.ts';
import { describeBus } from '#tests/support/bus-contract.ts';
import { startFaultProxy } from '#tests/support/fault-proxy.ts';
import { startRedis, startRedisCluster, type TestRedis } from '#tests/support/redis-server.ts';
import { waitFor, within } from '#tests/support/wait-for.ts';

function openBus(url: string, metrics: Metrics = createMetrics('test')): Promise<RedisBus> {
  const deps = { clock: systemClock, logger: createLogger('test', 'silent'), metrics };
  return RedisBus.open(parseRedisUrl(url), deps);
}

const connected = (bus: RedisBus, value: boolean): Promise<true> =>
  waitFor(`the bus to be ${value ? 'connected' : 'cut off'}`, () => bus.connected === value, {
    deadlineMs: 30_000,
  });

let redis: TestRedis;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.close());

describeBus('Redis', async () => {
  const proxy = await startFaultProxy(redis.port);
  const one = await openBus(`redis://127.0.0.1:${proxy.port}`);
  const two = await openBus(redis.url);
  return {
    one,
    two,
    cut: async () => {
      await proxy.refuse();
      await connected(one, false);
    },
    mend: async () => {
      await proxy.heal();
      await connected(one, true);
    },
    close: async () => {
      await one.close();
      await two.close();
      await proxy.close();
    },
  };
});

describeBus('Redis cluster', async () => {
  const cluster = await startRedisCluster();
  const [one, two] = [await openBus(cluster.url), await openBus(cluster.url)];
  return {
    one,
    two,
    // The whole cluster hangs: nodes name one another by address, so no proxy can stand between.
    cut: async () => {
      for (const node of cluster.nodes) node.pause();
      await connected(one, false);
      await connected(two, false);
    },
    mend: async () => {
      for (const node of cluster.nodes) node.resume();
      await connected(one, true);
      await connected(two, true);
    },
    close: async () => {
      await one.close();
      await two.close();
      await cluster.close();
    },
  };
});

describe('when Redis misbehaves, the bus', () => {
  const open: { close(): Promise<void> }[] = [];
  afterEach(async () => {
    for (const thing of open.splice(0).toReversed()) await thing.close();
  });

  async function behindProxy() {
    const proxy = await startFaultProxy(redis.port);
    const metrics = createMetrics('test');
    const bus = await openBus(`redis://127.0.0.1:${proxy.port}`, metrics);
    open.push(proxy, bus);
    return { proxy, bus, metrics };
  }

  it('starts without it, and works when it comes', async () => {
    const own = await startRedis();
    open.push(own);
    await own.kill();
    const bus = await within('open to give up waiting', 5_000, openBus(own.url));
    open.push(bus);
    expect(bus.connected).toBe(false);
    await own.start();
    await connected(bus, true);
  });

  it('notices a connection that only looks alive, and gets out of it', async () => {
    const { proxy, bus } = await behindProxy();
    const heard: unknown[] = [];
    await bus.subscribe('half-open', (message) => heard.push(message));
    proxy.set({ blackhole: true });
    await connected(bus, false);
    await expect(bus.publish('half-open', 1)).rejects.toMatchObject({ code: 'bus_unavailable' });
    await proxy.heal();
    await connected(bus, true);
    await bus.publish('half-open', 2);
    await waitFor('the message', () => heard.includes(2));
  });

  it('survives being reset again and again', async () => {
    const { proxy, bus } = await behindProxy();
    const heard: unknown[] = [];
    await bus.subscribe('reset', (message) => heard.push(message));
    for (let i = 0; i < 5; i++) {
      proxy.resetAll();
      await waitFor('a message to get through', async () => {
        await bus.publish('reset', i).catch(() => undefined);
        return heard.includes(i);
      });
    }
    expect(new Set(heard)).toEqual(new Set([0, 1, 2, 3, 4]));
  });

  it('forgets nothing of a server that was restarted empty', async () => {
    const own = await startRedis();
    open.push(own);
    const bus = await openBus(own.url);
    open.push(bus);
    const heard: unknown[] = [];
    await bus.subscribe('restart', (message) => heard.push(message));
    await own.kill();
    await connected(bus, false);
    await own.start();
    await connected(bus, true);
    await bus.publish('restart', 'again');
    await waitFor('the message', () => heard.length > 0);
    expect(heard).toEqual(['again']);
  });

  it('goes on when somebody publishes what is no message, and counts it', async () => {
    const { bus, metrics } = await behindProxy();
    const other = await openBus(redis.url);
    open.push(other);
    const heard: unknown[] = [];
    await bus.subscribe('bad', (message) => {
      if (message === 'throw') throw new Error('a mistake');
      heard.push(message);
    });
    await other.publish('bad', 'throw');
    await other.publish('bad', 'good');
    await waitFor('the good one', () => heard.includes('good'));
    expect(await metrics.metrics()).toContain('bus_failures_total{what="listener",service="test"} 1');
  });

  it('takes no more than a thousand messages at a time', async () => {
    const { proxy, bus } = await behindProxy();
    proxy.set({ freeze: true });
    const results = await Promise.allSettled(Array.from({ length: 1_200 }, (_, i) => bus.publish('many', i)));
    expect(results.filter((result) => result.status === 'rejected').length).toBeGreaterThanOrEqual(200);
    await proxy.heal();
  });
});
