import {
  placementKey,
  prepareNodes,
  rankPrepared,
  type WeightedNode,
} from '#protocol/placement/weighted-rendezvous.ts';

/**
 * Placing keys one by one, with a count kept per node: no node gets more than `factor` times its fair share, and a key
 * whose home is full goes to the next in its own order. For things that are placed and then stay, such as the streams of
 * an origin. (For viewers, of whom nothing is remembered, see `capacity-shares.ts`.)
 *
 * @spec Mirrokni, Thorup, Zadimoghaddam: Consistent Hashing with Bounded Loads, 2016
 */
export type LoadedNode = WeightedNode & {
  /** Keys that the node holds now. */
  readonly load: number;
  /** Most keys it may ever hold, on top of the bound; without one only the bound counts. */
  readonly capacity?: number;
};

/** How far above its fair share a node may go when nothing else is asked for. */
export const LOAD_FACTOR_DEFAULT = 1.25;

/**
 * The nodes in the order in which one more key should try them: those with room in the order of the key, then those
 * without, in the same order, for a caller that would rather overload one than refuse.
 *
 * @param options.factor at least 1; smaller is more even, larger moves fewer keys away from home
 * @throws {RangeError} when the factor is less than 1
 * @throws {PlacementError} as {@link prepareNodes} does
 */
export function rankWithinBound<Node extends LoadedNode>(
  key: string,
  nodes: readonly Node[],
  options: { factor?: number; salt?: string } = {},
): { withRoom: Node[]; full: Node[] } {
  const factor = options.factor ?? LOAD_FACTOR_DEFAULT;
  if (!(factor >= 1)) throw new RangeError(`a load factor must be at least 1, got ${factor}`);
  const weightSum = nodes.reduce((sum, node) => sum + node.weight, 0);
  const keyCount = nodes.reduce((sum, node) => sum + node.load, 0) + 1;
  const hasRoom = (node: Node): boolean => {
    const fairShare = weightSum === 0 ? 0 : (keyCount * node.weight) / weightSum;
    return node.load < Math.min(Math.ceil(factor * fairShare), node.capacity ?? Infinity);
  };
  const order = rankPrepared(placementKey(key, options.salt), prepareNodes(nodes));
  return { withRoom: order.filter(hasRoom), full: order.filter((node) => !hasRoom(node)) };
}
