import fc from 'fast-check';
import { prepareSnapshot } from '#protocol/steering/pathway-priority.ts';
import {
  EMPTY_SNAPSHOT,
  type SnapshotCdn,
  type SteeringSnapshot,
} from '#protocol/steering/steering-snapshot.ts';
import type { CdnHealth, HealthView } from '#steering/health/cdn-health.ts';
import type { CurrentPicture } from '#steering/picture/picture-keeper.ts';
import { Cdn, type CdnDirectory } from '#steering/registry/cdn.ts';

/** A CDN of a snapshot that is well and has weight 100. */
export function snapshotCdn(name: string, change: Partial<SnapshotCdn> = {}): SnapshotCdn {
  return {
    name,
    baseUrl: `https://${name}.example`,
    enabled: true,
    weight: 100,
    health: 1,
    priorityClass: 1,
    addedGeneration: 1,
    countries: [],
    asns: [],
    ...change,
  };
}

/** A snapshot of these CDNs, at generation 9. */
export function snapshotOf(cdns: SnapshotCdn[], change: Partial<SteeringSnapshot> = {}): SteeringSnapshot {
  return { ...EMPTY_SNAPSHOT, generation: 9, cdns, ...change };
}

/** A snapshot as the answers hold it. */
export function currentPicture(snapshot: SteeringSnapshot): CurrentPicture {
  const compiled = { snapshot, loads: [], excessViewers: 0 };
  return { prepared: prepareSnapshot(snapshot), compiled, json: JSON.stringify(snapshot), etag: '"test"' };
}

/** Any snapshot that could be, empty ones and hopeless ones included; `live` is the stream with health of its own. */
export const anySnapshot: fc.Arbitrary<SteeringSnapshot> = fc
  .uniqueArray(
    fc.record({
      name: fc.stringMatching(/^[a-z][A-Za-z0-9._-]{0,20}$/),
      enabled: fc.boolean(),
      weight: fc.oneof(fc.constant(0), fc.float({ min: Math.fround(0.0001), max: 1_000, noNaN: true })),
      health: fc.constantFrom(0, 0.05, 0.5, 1),
      priorityClass: fc.integer({ min: 1, max: 9 }),
      addedGeneration: fc.integer({ min: 1, max: 12 }),
      countries: fc.subarray(['DE', 'FR']),
      asns: fc.subarray([3320, 5410]),
    }),
    { selector: (entry) => entry.name, maxLength: 12 },
  )
  .chain((list) => {
    const cdns = list.map((entry) => snapshotCdn(entry.name, entry));
    const names = fc.constantFrom('nobody', ...cdns.map((cdn) => cdn.name));
    const share = fc.float({ min: 0, max: 1, noNaN: true });
    const priorityClass = fc.integer({ min: 1, max: 9 });
    return fc
      .record({
        event: fc.boolean(),
        spill: fc.array(fc.record({ priorityClass, share }), { maxLength: 3 }),
        streams: fc.record({ live: fc.dictionary(names, fc.constantFrom(0, 0.5, 1)) }),
      })
      .map((rest) => snapshotOf(cdns, rest));
  });

/** A CDN of the registry with what is given and defaults. */
export function registryCdn(name: string, change: Partial<Cdn> = {}): Cdn {
  return Cdn.parse({
    name,
    baseUrl: `https://${name}.example`,
    generation: 1,
    addedGeneration: 1,
    createdAtMs: 0,
    updatedAtMs: 0,
    ...change,
  });
}

/** A directory whose CDNs are set by hand. */
export class FakeDirectory implements CdnDirectory {
  #cdns: readonly Cdn[];
  #generation = 1;
  readonly #listeners = new Set<() => void>();

  constructor(cdns: readonly Cdn[] = []) {
    this.#cdns = cdns;
  }

  get generation(): number {
    return this.#generation;
  }

  list(): readonly Cdn[] {
    return this.#cdns;
  }

  get(name: string): Cdn | undefined {
    return this.#cdns.find((cdn) => cdn.name === name);
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Replaces all CDNs, as a change of the registry does. */
  set(cdns: readonly Cdn[]): void {
    this.#cdns = cdns;
    this.#generation++;
    for (const listener of this.#listeners) listener();
  }
}

/** Health that is set by hand; whatever was not set is unknown. */
export class FakeHealth implements HealthView {
  readonly #health = new Map<string, CdnHealth>();
  readonly #listeners = new Set<() => void>();
  #generation = 0;

  get generation(): number {
    return this.#generation;
  }

  get(cdn: string, streamId?: string): CdnHealth {
    const own = streamId === undefined ? undefined : this.#health.get(`${cdn}/${streamId}`);
    return (
      own ??
      this.#health.get(cdn) ?? {
        cdn,
        factor: 1,
        state: 'unknown',
        components: {},
        reasons: [],
        sinceMs: 0,
        generation: 0,
      }
    );
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Sets a CDN's health, or that of a stream on it (`cdn/stream`); the state follows from the factor. */
  set(key: string, factor: number, change: Partial<CdnHealth> = {}): void {
    const cdn = key.split('/')[0] ?? key;
    const state = factor === 0 ? 'ejected' : factor < 1 ? 'ramping' : 'healthy';
    this.#generation++;
    this.#health.set(key, {
      cdn,
      factor,
      state,
      components: {},
      reasons: [],
      sinceMs: 0,
      generation: this.#generation,
      ...change,
    });
    for (const listener of this.#listeners) listener();
  }
}
