import { combineHash64, hash64, unitInterval, type Hash64 } from '#protocol/placement/hash64.ts';

/**
 * Weighted rendezvous hashing: which node a key belongs to, and in which order the others stand behind it.
 *
 * Each pair of key and node has a fixed number u in (0, 1); the node's score is −w / ln u and the key's order is that of
 * the scores. A node is first for a share w / Σw of all keys. Changing one weight moves keys only to or from that node,
 * multiplying all weights by a constant moves none, and the keys of a node that goes away spread over the others in
 * proportion to their weights. Nothing is stored, so any number of machines agree without talking.
 */
export type WeightedNode = {
  /** Unique among the nodes. */
  readonly id: string;
  /** Finite and not negative, in any unit. Nodes of weight 0 stand behind all others, in an order of their own. */
  readonly weight: number;
};

/** A list of nodes that cannot be ranked. */
export class PlacementError extends Error {
  override readonly name = 'PlacementError';
  readonly code: 'node_weight_invalid' | 'node_id_duplicate';

  constructor(code: PlacementError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** Nodes made ready for many keys: their ids are hashed once. */
export type PlacementNodes<Node extends WeightedNode = WeightedNode> = readonly PreparedNode<Node>[];
type PreparedNode<Node> = { readonly node: Node; readonly hash: Hash64 };

/**
 * Checks and prepares a list of nodes.
 *
 * @throws {PlacementError} when a weight is negative, infinite or not a number, or two nodes have the same id
 */
export function prepareNodes<Node extends WeightedNode>(nodes: readonly Node[]): PlacementNodes<Node> {
  const seen = new Set<string>();
  return nodes.map((node) => {
    if (!(node.weight >= 0 && node.weight < Infinity))
      throw new PlacementError('node_weight_invalid', `the weight of ${node.id} is ${node.weight}`);
    if (seen.has(node.id))
      throw new PlacementError('node_id_duplicate', `there are two nodes with the id ${node.id}`);
    seen.add(node.id);
    return { node, hash: hash64(node.id) };
  });
}

/**
 * All nodes in the order in which the key prefers them; the first is its home.
 *
 * @param key anything stable, for instance a session id
 * @param salt keeps the orders of different uses apart: the same key with another salt has an independent order, so
 *   that the same viewer is not the unlucky one on every stream
 * @throws {PlacementError}
 */
export function rank<Node extends WeightedNode>(key: string, nodes: readonly Node[], salt = ''): Node[] {
  return rankPrepared(placementKey(key, salt), prepareNodes(nodes));
}

/** The hash of a key with its salt, for {@link rankPrepared}. */
export function placementKey(key: string, salt = ''): Hash64 {
  return combineHash64(hash64(key), hash64(salt));
}

/**
 * The score of a node for a key; the highest is first. The score of weight 0 is 0.
 *
 * @param weight finite and not negative
 */
export function rendezvousScore(key: Hash64, node: Hash64, weight: number): number {
  return weight / -Math.log(unitInterval(combineHash64(key, node)));
}

/** {@link rank} for a key and nodes that have been hashed before. */
export function rankPrepared<Node extends WeightedNode>(key: Hash64, nodes: PlacementNodes<Node>): Node[] {
  const scored = nodes.map(({ node, hash }) => {
    const drained = node.weight === 0;
    return { node, drained, score: rendezvousScore(key, hash, drained ? 1 : node.weight) };
  });
  scored.sort(
    (a, b) => Number(a.drained) - Number(b.drained) || b.score - a.score || (a.node.id < b.node.id ? -1 : 1),
  );
  return scored.map(({ node }) => node);
}

/** The first of {@link rankPrepared} without sorting the rest; `undefined` when there is no node. */
export function firstPrepared<Node extends WeightedNode>(
  key: Hash64,
  nodes: PlacementNodes<Node>,
): Node | undefined {
  let best: Node | undefined;
  let bestScore = 0;
  for (const { node, hash } of nodes) {
    const score = rendezvousScore(key, hash, node.weight);
    if (score > bestScore || (score === bestScore && best !== undefined && node.id < best.id)) {
      best = node;
      bestScore = score;
    }
  }
  return best ?? rankPrepared(key, nodes)[0];
}
