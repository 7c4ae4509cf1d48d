import { fitCapacity } from '#protocol/placement/capacity-shares.ts';
import type { SteeringSnapshot } from '#protocol/steering/steering-snapshot.ts';
import { costFactors, type CostPolicy } from '#steering/picture/cost-policy.ts';
import type { MergedHealth } from '#steering/picture/merge-health.ts';
import { groupServedBy } from '#steering/picture/region-group.ts';
import type { Cdn } from '#steering/registry/cdn.ts';

/** How weights are lowered for capacity and cost. */
export type WeightPolicy = {
  readonly cost: CostPolicy;
  /** Taken for the traffic of one viewer, bits per second. */
  readonly viewerBitrateBps: number;
};

/** All that the picture is made of. */
export type PictureInput = {
  readonly cdns: readonly Cdn[];
  readonly generation: number;
  readonly health: MergedHealth;
  /** Viewers by region group. */
  readonly demand: ReadonlyMap<string, number>;
  readonly event: boolean;
  readonly policy: WeightPolicy;
};

/** Why a CDN has the weight that it has. */
export type CdnLoad = {
  readonly name: string;
  /** Viewers that the weights will bring it. */
  readonly expectedViewers: number;
  /** `null`: no limit. */
  readonly capacityViewers: number | null;
  /** 0…1; below 1 while it is full. */
  readonly capacityFactor: number;
  /** 0.5…1.5. */
  readonly costFactor: number;
};

export type CompiledPicture = {
  readonly snapshot: SteeringSnapshot;
  readonly loads: readonly CdnLoad[];
  /** Viewers beyond what all CDNs can carry. */
  readonly excessViewers: number;
};

/** Turns what ops have set, what the nodes see and what viewers ask for into the picture that decides. Pure. */
export function compileSnapshot(input: PictureInput): CompiledPicture {
  const { cdns, policy } = input;
  const health = cdns.map((cdn) => healthOf(cdn, input));
  const viewers = [...input.demand.values()].reduce((sum, count) => sum + count, 0);
  const cost = costFactors(cdns, policy.cost, viewers * policy.viewerBitrateBps);
  const wanted = cdns.map((cdn, i) => (cdn.enabled ? cdn.weight * (cost[i] ?? 1) * (health[i] ?? 1) : 0));
  const capacity = cdns.map((cdn) => capacityViewers(cdn, policy.viewerBitrateBps));
  const fitted = fitClasses(cdns, wanted, capacity, input.demand);

  const snapshot: SteeringSnapshot = {
    version: 1,
    generation: input.generation,
    panic: input.health.panic,
    event: input.event,
    cdns: cdns.map((cdn, i) => ({
      name: cdn.name,
      baseUrl: cdn.baseUrl,
      enabled: cdn.enabled,
      weight: finalWeight(cdn.weight, (cost[i] ?? 1) * (fitted.factors[i] ?? 1)),
      health: health[i] ?? 1,
      priorityClass: cdn.priorityClass,
      addedGeneration: cdn.addedGeneration,
      countries: cdn.regions.countries,
      asns: cdn.regions.asns,
    })),
    spill: fitted.spill,
    streams: input.health.panic ? {} : knownCdnsOnly(input.health.streams, input.cdns),
    places: input.health.panic ? {} : knownCdnsOnly(input.health.places, input.cdns),
  };
  const loads = cdns.map((cdn, i) => ({
    name: cdn.name,
    expectedViewers: Math.round(fitted.loads[i] ?? 0),
    capacityViewers: capacity[i] === Infinity ? null : (capacity[i] ?? null),
    capacityFactor: fitted.factors[i] ?? 1,
    costFactor: cost[i] ?? 1,
  }));
  return { snapshot, loads, excessViewers: Math.round(fitted.excess) };
}

function healthOf(cdn: Cdn, { health }: PictureInput): number {
  if (health.panic) return health.held.get(cdn.name) ?? 1;
  return health.cdns.get(cdn.name)?.factor ?? 1;
}

function knownCdnsOnly(
  table: Readonly<Record<string, Readonly<Record<string, number>>>>,
  cdns: readonly Cdn[],
): Record<string, Record<string, number>> {
  const names = new Set(cdns.map((cdn) => cdn.name));
  const entries = Object.entries(table).map(
    ([key, factors]) =>
      [key, Object.fromEntries(Object.entries(factors).filter(([name]) => names.has(name)))] as const,
  );
  return Object.fromEntries(entries.filter(([, factors]) => Object.keys(factors).length > 0));
}

/** Weights are compared, so they are rounded; a CDN that is only full or dear must not look as if it were drained. */
function finalWeight(weight: number, factor: number): number {
  return weight === 0 ? 0 : Math.max(0.0001, Math.round(weight * factor * 10_000) / 10_000);
}

function capacityViewers(cdn: Cdn, viewerBitrateBps: number): number {
  const { viewersMax, gbpsMax } = cdn.capacity;
  return Math.min(viewersMax ?? Infinity, gbpsMax === null ? Infinity : (gbpsMax * 1e9) / viewerBitrateBps);
}

type Fitted = {
  readonly factors: number[];
  readonly loads: number[];
  readonly spill: SteeringSnapshot['spill'];
  readonly excess: number;
};

/** Fills the priority classes one after the other: what does not fit into one goes on to the next. */
function fitClasses(
  cdns: readonly Cdn[],
  weights: readonly number[],
  capacity: readonly number[],
  demand: ReadonlyMap<string, number>,
): Fitted {
  const factors = cdns.map(() => 1);
  const loads = cdns.map(() => 0);
  const spill: { priorityClass: number; share: number }[] = [];
  const classes = [...new Set(cdns.filter((_, i) => (weights[i] ?? 0) > 0).map((cdn) => cdn.priorityClass))];
  classes.sort((a, b) => a - b);
  let waiting = new Map(demand);
  let excess = 0;
  for (const [order, priorityClass] of classes.entries()) {
    const members = cdns.flatMap((cdn, index) =>
      cdn.priorityClass === priorityClass && (weights[index] ?? 0) > 0 ? [{ cdn, index }] : [],
    );
    const nodes = members.map(({ cdn, index }) => ({
      id: cdn.name,
      weight: weights[index] ?? 0,
      capacity: capacity[index] ?? Infinity,
    }));
    const demands = [...waiting].map(([group, amount]) => {
      const serves = groupServedBy(group);
      const here = members.flatMap(({ cdn, index }, place) => (serves(index, isLimited(cdn)) ? [place] : []));
      return { group, amount, nodes: here };
    });
    const fit = fitCapacity(nodes, demands);
    const asked = demands.reduce((sum, { amount, nodes: here }) => sum + (here.length > 0 ? amount : 0), 0);
    const isLast = order === classes.length - 1;
    const share = asked === 0 || isLast ? 0 : rounded(fit.excess / asked);
    if (share > 0) spill.push({ priorityClass, share });
    for (const [place, { index }] of members.entries()) {
      factors[index] = rounded(fit.factors[place] ?? 1);
      loads[index] = (fit.loads[place] ?? 0) * (1 - share);
    }
    if (isLast) excess = fit.excess;
    waiting = new Map(
      demands.map(({ group, amount, nodes: here }) => [group, here.length > 0 ? amount * share : amount]),
    );
  }
  return { factors, loads, spill, excess };
}

function isLimited(cdn: Cdn): boolean {
  return cdn.regions.countries.length > 0 || cdn.regions.asns.length > 0;
}

/** To three digits: nodes that differ by a hair in what they have counted still come to the same picture. */
function rounded(value: number): number {
  return Number(value.toPrecision(3));
}
