import type { Cdn } from '#steering/registry/cdn.ts';

/** `off`: cost plays no part. `tiebreak`: between CDNs that ops have given the same weight, the cheaper gets more. */
export const COST_POLICIES = ['off', 'tiebreak'] as const;
export type CostPolicy = (typeof COST_POLICIES)[number];

/** How far the weight of the cheapest of a tie goes up, and that of the dearest down. */
export const COST_SHIFT = 0.5;

/**
 * Factors on the weights of ops that prefer what is cheap, or already paid for, where ops have no preference: within a
 * priority class, between CDNs of equal weight. The sum of the weights of a tie stays what it was, so nobody else's
 * share changes.
 *
 * The price of a CDN is what its expected traffic would cost per gigabyte, with the committed part free. It is reckoned
 * from the shares that the weights give, not from the traffic there is, so that it does not chase its own effect.
 *
 * @param demandBps traffic of all viewers together, bits per second
 */
export function costFactors(cdns: readonly Cdn[], policy: CostPolicy, demandBps: number): number[] {
  if (policy === 'off') return cdns.map(() => 1);
  const active = cdns.filter((cdn) => cdn.enabled && cdn.weight > 0);
  const tieOf = (cdn: Cdn): string => `${cdn.priorityClass}/${cdn.weight}`;
  const prices = new Map(active.map((cdn) => [cdn.name, priceOf(cdn, active, demandBps)]));
  const ties = Map.groupBy(active, tieOf);
  return cdns.map((cdn) => {
    const price = prices.get(cdn.name);
    const tie = price === undefined ? [] : (ties.get(tieOf(cdn)) ?? []).map((c) => prices.get(c.name) ?? 0);
    if (price === undefined || tie.length < 2) return 1;
    const [cheapest, dearest] = [Math.min(...tie), Math.max(...tie)];
    if (dearest === cheapest) return 1;
    const shift = (value: number): number =>
      1 + COST_SHIFT * (1 - (2 * (value - cheapest)) / (dearest - cheapest));
    return (shift(price) * tie.length) / tie.reduce((sum, value) => sum + shift(value), 0);
  });
}

function priceOf(cdn: Cdn, active: readonly Cdn[], demandBps: number): number {
  const peers = active.filter((peer) => peer.priorityClass === cdn.priorityClass);
  const gbps = (demandBps / 1e9) * (cdn.weight / peers.reduce((sum, peer) => sum + peer.weight, 0));
  if (gbps <= cdn.cost.commitGbps) return cdn.cost.commitGbps > 0 ? 0 : cdn.cost.perGb;
  return cdn.cost.perGb * (1 - cdn.cost.commitGbps / gbps);
}
