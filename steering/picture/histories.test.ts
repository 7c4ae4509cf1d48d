import { randomUUID } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pathwayPriority } from '#protocol/steering/pathway-priority.ts';
import { SteeringSnapshot } from '#protocol/steering/steering-snapshot.ts';
import { MemoryBus, MemoryBusHub } from '#runtime/bus/memory-bus.ts';
import { FakeClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { DemandMeter } from '#steering/demand/demand-meter.ts';
import { PictureKeeper } from '#steering/picture/picture-keeper.ts';
import type { Cdn } from '#steering/registry/cdn.ts';
import { FakeDirectory, FakeHealth, registryCdn } from '#tests/support/steering-fixtures.ts';

const NAMES = ['a', 'b', 'c', 'd', 'e'];
const STREAMS = ['live', 'other'];

/** Two nodes of one system, and what can happen to them. */
class World {
  readonly clock = new FakeClock();
  readonly #hub = new MemoryBusHub();
  readonly nodes = [this.#node(), this.#node()];

  #node() {
    const metrics = createMetrics('test');
    const directory = new FakeDirectory([]);
    const health = new FakeHealth();
    const bus = new MemoryBus(this.#hub);
    const demand = new DemandMeter({ clock: this.clock, metrics });
    const keeper = new PictureKeeper(
      {
        weights: { cost: 'tiebreak', viewerBitrateBps: 4_000_000 },
        events: { afterChangeMs: 60_000, troubleMaxMs: 600_000 },
      },
      {
        nodeId: randomUUID(),
        clock: this.clock,
        metrics,
        directory,
        health,
        demand,
        bus,
        experience: { placeFactor: (cdn) => health.get(cdn).factor },
        logger: createLogger('test', 'silent'),
        changeDue: () => false,
      },
    );
    return { directory, health, bus, demand, keeper };
  }

  async start(): Promise<void> {
    for (const { keeper } of this.nodes) await keeper.start();
  }

  async pass(ms: number): Promise<void> {
    for (let gone = 0; gone < ms; gone += 50) {
      this.clock.advance(50);
      await nextTurn();
      await nextTurn();
    }
  }

  async close(): Promise<void> {
    for (const { keeper } of this.nodes) await keeper.close();
  }

  /** What is wrong with the answers that the nodes would give now; nothing, it is hoped. */
  violations(): string[] {
    return this.nodes.flatMap(({ keeper }) => {
      const { snapshot } = keeper.current.compiled;
      const problems = SteeringSnapshot.safeParse(snapshot).success ? [] : ['snapshot'];
      for (const [i, list] of this.answers(keeper).entries()) {
        const here = snapshot.streams[STREAMS[i % 2] ?? ''] ?? {};
        const enabled = snapshot.cdns.filter((c) => c.enabled);
        const live = enabled.filter((c) => (here[c.name] ?? c.health) > 0).map((c) => c.name);
        if (list.length === 0) problems.push('empty');
        if (new Set(list).size !== list.length) problems.push('twice');
        if (live.length >= 2 && list.length < 2) problems.push('one entry');
        if (live.length > 0 && list.some((name) => !live.includes(name))) problems.push('dead');
      }
      return problems;
    });
  }

  answers(keeper: PictureKeeper): string[][] {
    return Array.from({ length: 30 }, (_, i) =>
      pathwayPriority(keeper.current.prepared, {
        sessionId: `s${i}`,
        streamId: STREAMS[i % 2] ?? '',
        generation: 0,
        country: i % 3 === 0 ? 'DE' : undefined,
        asn: undefined,
      }),
    );
  }
}

const cdn: fc.Arbitrary<Cdn> = fc
  .record({
    name: fc.constantFrom(...NAMES),
    weight: fc.constantFrom(0, 1, 50, 1_000),
    enabled: fc.boolean(),
    priorityClass: fc.constantFrom(1, 1, 2),
    viewersMax: fc.constantFrom(null, 1, 20),
    perGb: fc.constantFrom(0, 0.01, 0.05),
    countries: fc.constantFrom<string[]>([], [], ['DE']),
  })
  .map(({ name, viewersMax, perGb, countries, ...rest }) =>
    registryCdn(name, {
      ...rest,
      capacity: { viewersMax, gbpsMax: null },
      cost: { perGb, commitGbps: 0 },
      regions: { countries, asns: [] },
    }),
  );

type Step = (world: World) => Promise<void> | void;
const which = fc.constantFrom(0, 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.uniqueArray(cdn, { selector: ({ name }) => name, maxLength: 5 }).map((cdns): Step => (world) => {
    const sorted = cdns.toSorted((x, y) => (x.name < y.name ? -1 : 1));
    for (const { directory } of world.nodes) directory.set(sorted);
  }),
  fc
    .tuple(which, fc.constantFrom(...NAMES, 'a/live', 'b/live', 'b/other'), fc.constantFrom(0, 0.1, 0.6, 1))
    .map(
      ([node, key, factor]): Step =>
        (world) =>
          world.nodes[node]?.health.set(key, factor),
    ),
  fc.tuple(which, fc.boolean()).map(([node, connected]): Step => (world) => {
    world.nodes[node]?.bus.setConnected(connected);
  }),
  fc
    .tuple(which, fc.constantFrom(...NAMES), fc.constantFrom(...STREAMS))
    .map(([node, name, streamId]): Step => (world) => {
      for (let i = 0; i < 25; i++)
        world.nodes[node]?.demand.record({
          cdn: name,
          streamId,
          regionGroup: '',
          place: { country: 'DE' },
          ttlS: 25,
          weight: 1,
        });
    }),
  fc.constantFrom(50, 1_000, 6_000).map(
    (ms): Step =>
      (world) =>
        world.pass(ms),
  ),
  fc.constantFrom(-3_600_000, 3_600_000).map(
    (ms): Step =>
      (world) =>
        world.clock.stepWallClock(ms),
  ),
);

describe('after any history of CDNs, health, viewers, partitions and clocks', () => {
  it('every answer is sound, and nodes that hear each other agree within a second', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const world = new World();
        await world.start();
        try {
          for (const happen of steps) {
            await happen(world);
            expect(world.violations()).toEqual([]);
          }
          for (const { bus } of world.nodes) bus.setConnected(true);
          await world.pass(1_100);
          const [one, two] = world.nodes;
          expect(two?.keeper.current.json).toBe(one?.keeper.current.json);
          expect(world.violations()).toEqual([]);
        } finally {
          await world.close();
        }
      }),
      { numRuns: 150 },
    );
  }, 60_000);
});
