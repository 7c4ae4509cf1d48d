/**
 * Bounded load without remembering a single key: the weights are lowered until no node's expected share exceeds what it
 * can carry. Under weighted rendezvous hashing lowering one weight moves exactly the keys for which that node leads by
 * least, each to the next in its own order, and no key between two other nodes: that is the overflow of bounded-load
 * hashing, with the threshold in the weight instead of in a count per node.
 */
export type CapacityNode = {
  readonly id: string;
  /** Finite and not negative. */
  readonly weight: number;
  /** What it can carry, above 0, in the unit of the demand; `Infinity` for no limit. */
  readonly capacity: number;
};

/** Keys of one kind: how many, and between which nodes (by their places in the list) they are shared out. */
export type CapacityDemand = { readonly amount: number; readonly nodes: readonly number[] };

export type CapacityShares = {
  /** Factor 0…1 to lower each node's weight by, in the order of the nodes. 1 for a node that stays below its limit. */
  readonly factors: readonly number[];
  /** Expected load of each node after that, in the unit of the demand. */
  readonly loads: readonly number[];
  /** Part of the loads that is above what the nodes can carry: demand that fits nowhere. */
  readonly excess: number;
};

const ROUNDS_MAX = 500;
const PRECISION = 1e-4;
/** Weights may become small but never 0, which would mean something else. */
const FACTOR_MIN = 1e-9;

/**
 * Fits demands into the nodes. Where they do not fit, all nodes that could take them are overloaded alike.
 *
 * Each round lowers the nodes that are too full in proportion and raises those that have been lowered too far, as far as
 * their own weights; it ends when nothing moves by more than a ten-thousandth, after some dozen rounds as a rule.
 */
export function fitCapacity(
  nodes: readonly CapacityNode[],
  demands: readonly CapacityDemand[],
): CapacityShares {
  let factors = nodes.map(() => 1);
  let loads = loadsOf(nodes, factors, demands);
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const wanted = nodes.map(({ capacity }, i) => {
      const load = loads[i] ?? 0;
      const factor = factors[i] ?? 1;
      return load === 0 || capacity === Infinity ? 1 : Math.min(1, (factor * capacity) / load);
    });
    // Only ratios count: with every node too full they would all sink for ever.
    const loaded = wanted.filter((_, i) => (loads[i] ?? 0) > 0);
    const largest = loaded.length > 0 ? Math.max(...loaded) : 1;
    const next = wanted.map((factor, i) =>
      (loads[i] ?? 0) > 0 ? Math.max(FACTOR_MIN, factor / largest) : 1,
    );
    const moved = Math.max(0, ...next.map((factor, i) => Math.abs(factor / (factors[i] ?? 1) - 1)));
    factors = next;
    loads = loadsOf(nodes, factors, demands);
    if (moved < PRECISION) break;
  }
  const excess = nodes.reduce((sum, { capacity }, i) => {
    const above = (loads[i] ?? 0) - capacity;
    return sum + (above > PRECISION * capacity * 10 ? above : 0);
  }, 0);
  return { factors, loads, excess };
}

function loadsOf(
  nodes: readonly CapacityNode[],
  factors: readonly number[],
  demands: readonly CapacityDemand[],
): number[] {
  const loads = nodes.map(() => 0);
  const weightOf = (i: number): number => (nodes[i]?.weight ?? 0) * (factors[i] ?? 1);
  for (const demand of demands) {
    const sum = demand.nodes.reduce((total, i) => total + weightOf(i), 0);
    if (sum === 0) continue;
    for (const i of demand.nodes) loads[i] = (loads[i] ?? 0) + (demand.amount * weightOf(i)) / sum;
  }
  return loads;
}
