import { randomUUID } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { pathwayPriority } from '#protocol/steering/pathway-priority.ts';
import { MemoryBus, MemoryBusHub } from '#runtime/bus/memory-bus.ts';
import { FakeClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { DemandMeter } from '#steering/demand/demand-meter.ts';
import { REPORT_STREAM_VIEWERS_MAX } from '#steering/picture/node-report.ts';
import { NODES_MAX, REPORT_CHANNEL, type NodeReport } from '#steering/picture/node-report.ts';
import { PictureKeeper } from '#steering/picture/picture-keeper.ts';
import type { Cdn } from '#steering/registry/cdn.ts';
import { FakeDirectory, FakeHealth, registryCdn } from '#tests/support/steering-fixtures.ts';

const SETTINGS = {
  weights: { cost: 'off' as const, viewerBitrateBps: 4_000_000 },
  events: { afterChangeMs: 60_000, troubleMaxMs: 600_000 },
};
const THREE = [registryCdn('a'), registryCdn('b'), registryCdn('c')];

const open: PictureKeeper[] = [];
afterEach(async () => {
  for (const keeper of open.splice(0)) await keeper.close();
});

type Shared = { clock: FakeClock; hub: MemoryBusHub };
const shared = (): Shared => ({ clock: new FakeClock(), hub: new MemoryBusHub() });

async function node({ clock, hub }: Shared, cdns: readonly Cdn[] = THREE, held?: Record<string, number>) {
  const directory = new FakeDirectory(cdns);
  const health = new FakeHealth();
  const bus = new MemoryBus(hub);
  const metrics = createMetrics('test');
  const demand = new DemandMeter({ clock, metrics });
  const placeFactors = new Map<string, number>();
  const keeper = new PictureKeeper(SETTINGS, {
    nodeId: randomUUID(),
    clock,
    metrics,
    directory,
    health,
    demand,
    bus,
    experience: { placeFactor: (cdn, { country, asn }) => placeFactors.get(`${cdn}/${country ?? asn}`) ?? 1 },
    logger: createLogger('test', 'silent'),
    changeDue: () => false,
    ...(held === undefined ? {} : { heldHealth: new Map(Object.entries(held)) }),
  });
  await keeper.start();
  open.push(keeper);
  const healthOf = (name: string): number | undefined =>
    keeper.current.compiled.snapshot.cdns.find((cdn) => cdn.name === name)?.health;
  return { keeper, directory, health, bus, demand, metrics, healthOf, placeFactors };
}

/** Lets time pass in small steps, and messages arrive. */
async function pass({ clock }: Shared, ms: number): Promise<void> {
  for (let gone = 0; gone < ms; gone += 10) {
    clock.advance(10);
    await nextTurn();
    await nextTurn();
  }
}

function answersOf(keeper: PictureKeeper): string[] {
  return Array.from({ length: 200 }, (_, i) =>
    pathwayPriority(keeper.current.prepared, {
      sessionId: `s${i}`,
      streamId: 'live',
      generation: 0,
      country: undefined,
      asn: undefined,
    }).join(),
  );
}

describe('several nodes', () => {
  it('give every session the same answer, at once after a change of health on any of them', async () => {
    const world = shared();
    const nodes = [await node(world), await node(world), await node(world)];
    for (const { health } of nodes) for (const name of ['a', 'b', 'c']) health.set(name, 1);
    await pass(world, 100);
    nodes[0]!.health.set('b', 0);
    nodes[2]!.health.set('b', 0);
    await pass(world, 100);
    const answers = nodes.map(({ keeper }) => answersOf(keeper));
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[2]).toEqual(answers[0]);
    expect(answers[0]?.some((list) => list.includes('b'))).toBe(false);
    expect(new Set(nodes.map(({ keeper }) => keeper.current.etag)).size).toBe(1);
  });

  it('are not led by one of them whose own line is down', async () => {
    const world = shared();
    const nodes = [await node(world), await node(world)];
    for (const name of ['a', 'b', 'c']) {
      nodes[0]!.health.set(name, 0);
      nodes[1]!.health.set(name, name === 'c' ? 0 : 1);
    }
    await pass(world, 100);
    for (const { healthOf } of nodes) expect(['a', 'b', 'c'].map(healthOf)).toEqual([1, 1, 0]);
  });

  it('tell a new one what they see before it has measured anything itself', async () => {
    const world = shared();
    const first = await node(world);
    first.health.set('a', 0);
    first.health.set('b', 1);
    await pass(world, 500);
    const second = await node(world);
    await pass(world, 60);
    expect(second.healthOf('a')).toBe(0);
  });

  it('forget what a silent one saw after five seconds, and its viewers over half a minute', async () => {
    const world = shared();
    const [one, two] = [await node(world), await node(world)];
    one.health.set('a', 1);
    one.health.set('b', 1);
    two.health.set('a', 0);
    two.health.set('b', 1);
    for (let i = 0; i < 100; i++)
      two.demand.record({ cdn: 'b', streamId: 'live', regionGroup: '', place: {}, ttlS: 120, weight: 1 });
    await pass(world, 1_200);
    expect(one.healthOf('a')).toBe(0);
    expect(one.keeper.viewersByCdn().get('b')).toBe(100);
    two.bus.setConnected(false);
    await pass(world, 5_500);
    expect(one.healthOf('a')).toBe(1);
    expect(one.keeper.viewersByCdn().get('b')).toBeGreaterThan(50);
    await pass(world, 15_000);
    expect(one.keeper.viewersByCdn().get('b')).toBeLessThan(50);
    await pass(world, 12_000);
    expect(one.keeper.nodes()).toHaveLength(1);
  });

  it('tell one another which streams are watched most, and each says the sum', async () => {
    const world = shared();
    const [one, two] = [await node(world), await node(world)];
    const watch = (at: typeof one, streamId: string, cdn: string, viewers: number): void => {
      for (let i = 0; i < viewers; i++)
        at.demand.record({ cdn, streamId, regionGroup: '', place: {}, ttlS: 120, weight: 1 });
    };
    watch(one, 'match', 'a', 30);
    watch(one, 'match', 'b', 5);
    watch(two, 'match', 'a', 20);
    watch(two, 'news', 'b', 40);
    for (let stream = 0; stream < 2 * REPORT_STREAM_VIEWERS_MAX; stream++) watch(two, `s${stream}`, 'c', 1);
    await pass(world, 1_200);
    const top = [
      { streamId: 'match', cdn: 'a', viewers: 50 },
      { streamId: 'news', cdn: 'b', viewers: 40 },
      { streamId: 'match', cdn: 'b', viewers: 5 },
    ];
    expect(one.keeper.streams(3)).toEqual(top);
    expect(two.keeper.streams(3)).toEqual(top);
    // What is said over the bus is bounded: the long tail stays with its node.
    expect(one.keeper.streams(Infinity)).toHaveLength(REPORT_STREAM_VIEWERS_MAX + 1);
    two.bus.setConnected(false);
    await pass(world, 40_000);
    expect(one.keeper.streams(Infinity).map(({ streamId }) => streamId)).toEqual(['match', 'match']);
  });

  it('drop the view of one that leaves at once', async () => {
    const world = shared();
    const [one, two] = [await node(world), await node(world)];
    one.health.set('a', 1);
    one.health.set('b', 1);
    two.health.set('a', 0);
    two.health.set('b', 1);
    await pass(world, 100);
    expect(one.healthOf('a')).toBe(0);
    await two.keeper.close();
    await pass(world, 100);
    expect(one.healthOf('a')).toBe(1);
  });

  it('go each by its own view while they are cut off, keep count of the others, and agree again after', async () => {
    const world = shared();
    const [one, two] = [await node(world), await node(world)];
    for (const { health } of [one, two]) for (const name of ['a', 'b', 'c']) health.set(name, 1);
    for (let i = 0; i < 100; i++)
      two.demand.record({ cdn: 'b', streamId: 'live', regionGroup: '', place: {}, ttlS: 120, weight: 1 });
    await pass(world, 1_200);
    one.bus.setConnected(false);
    two.bus.setConnected(false);
    one.health.set('a', 0);
    await pass(world, 20_000);
    expect([one.healthOf('a'), two.healthOf('a')]).toEqual([0, 1]);
    expect(one.keeper.viewersByCdn().get('b')).toBe(100);
    one.bus.setConnected(true);
    two.bus.setConnected(true);
    await pass(world, 1_100);
    expect([one.healthOf('a'), two.healthOf('a')]).toEqual([0, 0]);
    expect(answersOf(one.keeper)).toEqual(answersOf(two.keeper));
  });

  it('survive what is no report, and one node too many', async () => {
    const world = shared();
    const { keeper, bus, metrics } = await node(world);
    const other = new MemoryBus(world.hub);
    for (const message of ['nonsense', null, { node: 'x' }, { node: randomUUID(), health: [] }])
      await other.publish(REPORT_CHANNEL, message);
    const report: NodeReport = {
      node: '',
      leaving: false,
      generation: 1,
      health: {},
      held: {},
      places: {},
      streams: {},
      demand: { cdns: {}, regionGroups: {}, streams: [] },
    };
    for (let i = 0; i < NODES_MAX + 5; i++)
      await other.publish(REPORT_CHANNEL, { ...report, node: randomUUID() });
    await pass(world, 100);
    expect(keeper.nodes()).toHaveLength(NODES_MAX);
    expect(await metrics.metrics()).toContain('steering_reports_refused_total{service="test"} 10');
    expect(bus.connected).toBe(true);
  });
});

describe('the picture', () => {
  it('has a change of the registry in it as soon as that is announced', async () => {
    const world = shared();
    const { keeper, directory } = await node(world);
    directory.set([registryCdn('a', { weight: 0 }), registryCdn('b')]);
    expect(keeper.current.compiled.snapshot).toMatchObject({ generation: 2, event: true });
    expect(keeper.current.prepared.cdns.map(({ weight }) => weight)).toEqual([0, 100]);
  });

  it('is not made anew, and nobody is told, while nothing changes', async () => {
    const world = shared();
    const { keeper, health } = await node(world);
    health.set('a', 1);
    await pass(world, 100);
    const { prepared } = keeper.current;
    let told = 0;
    keeper.onChange(() => told++);
    await pass(world, 3_000);
    expect(keeper.current.prepared).toBe(prepared);
    expect(told).toBe(0);
  });

  it('holds what was good when everything fails, also from before a restart', async () => {
    const world = shared();
    const { keeper, health, healthOf } = await node(world, THREE, { a: 0, b: 1, c: 0.5 });
    for (const name of ['a', 'b', 'c'])
      health.set(name, 1, { state: 'suspect', reasons: ['all_cdns_failing'] });
    await pass(world, 100);
    expect(keeper.current.compiled.snapshot).toMatchObject({ panic: true, event: true });
    expect(['a', 'b', 'c'].map(healthOf)).toEqual([0, 1, 0.5]);
    health.set('c', 1);
    await pass(world, 100);
    expect(keeper.current.compiled.snapshot.panic).toBe(false);
    expect(Object.fromEntries(keeper.heldHealth)).toMatchObject({ c: 1 });
  });

  it('shows the health of a stream that people watch', async () => {
    const world = shared();
    const { keeper, health, demand } = await node(world);
    for (const name of ['a', 'b', 'c']) health.set(name, 1);
    health.set('a/live', 0);
    demand.record({ cdn: 'a', streamId: 'live', regionGroup: '', place: {}, ttlS: 30, weight: 1 });
    await pass(world, 1_100);
    expect(keeper.current.compiled.snapshot.streams).toEqual({ live: { a: 0 } });
  });

  it('shows where viewers fare worse, as soon as one node has heard enough of them', async () => {
    const world = shared();
    const [one, two] = [await node(world), await node(world)];
    const answer = { cdn: 'a', streamId: 'live', regionGroup: '', ttlS: 30, weight: 1 };
    one.demand.record({ ...answer, place: { country: 'DE', asn: 3320 } });
    two.demand.record({ ...answer, place: { country: 'FR' } });
    one.placeFactors.set('a/3320', 0.4).set('b/DE', 0.995);
    two.placeFactors.set('c/FR', 0.5);
    await pass(world, 1_100);
    const places = { AS3320: { a: 0.4 }, FR: { c: 0.5 } };
    for (const { keeper } of [one, two]) expect(keeper.current.compiled.snapshot.places).toEqual(places);
  });

  it('flaps no more often than it settles, however fast health flaps', async () => {
    const world = shared();
    const { keeper, health } = await node(world);
    let changes = 0;
    keeper.onChange(() => changes++);
    for (let i = 0; i < 500; i++) {
      health.set('a', i % 2);
      if (i % 50 === 49) await pass(world, 20);
    }
    expect(changes).toBeLessThanOrEqual(12);
    for (const list of answersOf(keeper)) expect(list.split(',').length).toBeGreaterThanOrEqual(2);
  });

  it('is small for as many CDNs and streams as there may be', async () => {
    const world = shared();
    const many = Array.from({ length: 64 }, (_, i) => registryCdn(`cdn-${i}`));
    const { keeper, health, demand } = await node(world, many);
    for (const { name } of many) health.set(name, 1);
    for (let s = 0; s < 200; s++) {
      demand.record({ cdn: 'cdn-0', streamId: `s${s}`, regionGroup: '', place: {}, ttlS: 100, weight: 1 });
      for (let c = 0; c < 50; c++) health.set(`cdn-${c}/s${s}`, 0.5);
    }
    await pass(world, 1_100);
    expect(keeper.current.json.length).toBeLessThan(64 * 1024);
  });
});
