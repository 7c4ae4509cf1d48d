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
  /** What it can carry, in the unit of the demand; `Infinity` for no limit. */
  readonly capacity: number;
};

export type CapacityShares = {
  /** Factor 0…1 to lower each node's weight by, in the order of the nodes. 1 for a node that stays below its limit. */
  readonly factors: readonly number[];
  /** Expected load of each node after that, in the unit of the demand. */
  readonly loads: readonly number[];
  /** Demand that fits nowhere. It is spread over the nodes in proportion to what they can carry. */
  readonly excess: number;
};

/**
 * Fits a demand into the nodes.
 *
 * @param demand total load, for instance viewers; 0 leaves every weight as it is
 */
export function fitCapacity(nodes: readonly CapacityNode[], demand: number): CapacityShares {
  const weighted = nodes.filter((node) => node.weight > 0);
  const room = weighted.reduce((sum, node) => sum + node.capacity, 0);
  if (demand >= room) return overfull(nodes, demand, room);
  const full = new Set<CapacityNode>();
  // Each round finds at least one more full node or ends: what a full node cannot take raises the share of the others.
  for (;;) {
    const open = weighted.filter((node) => !full.has(node));
    const openWeight = open.reduce((sum, node) => sum + node.weight, 0);
    const openDemand = [...full].reduce((rest, node) => rest - node.capacity, demand);
    const perWeight = openWeight === 0 ? 0 : openDemand / openWeight;
    const overflowing = open.filter((node) => perWeight * node.weight > node.capacity);
    if (overflowing.length === 0) {
      // A full node's weight is what gives it, beside the unchanged weights of the open ones, exactly its capacity.
      const factorOf = (node: CapacityNode): number =>
        full.has(node) && perWeight > 0 ? node.capacity / (perWeight * node.weight) : 1;
      return {
        factors: nodes.map(factorOf),
        loads: nodes.map((node) => perWeight * node.weight * factorOf(node)),
        excess: 0,
      };
    }
    for (const node of overflowing) full.add(node);
  }
}

/** More than all can carry: everybody gets the same overload, so weights follow capacities. */
function overfull(nodes: readonly CapacityNode[], demand: number, room: number): CapacityShares {
  const relative = nodes.map((node) =>
    node.weight > 0 && room > 0 ? node.capacity / room / node.weight : 0,
  );
  const largest = Math.max(0, ...relative);
  return {
    factors: relative.map((value, index) =>
      nodes[index]?.weight === 0 || largest === 0 ? 1 : value / largest,
    ),
    loads: nodes.map((node) => (node.weight > 0 && room > 0 ? (demand * node.capacity) / room : 0)),
    excess: Math.max(0, demand - room),
  };
}
