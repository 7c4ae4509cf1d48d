import type { CurrentPicture } from '#steering/picture/picture-keeper.ts';
import type { MergedHealth } from '#steering/picture/merge-health.ts';
import { configOf, type Cdn, type CdnConfig } from '#steering/registry/cdn.ts';
import type { PlannedChange } from '#steering/registry/planned-change.ts';

/** What is known of a CDN beside what ops have set; changes by itself. */
export type CdnStatus = {
  /** Weight after health, capacity and cost. */
  readonly effectiveWeight: number;
  /** Of the sessions, as the weights promise, 0…1. */
  readonly expectedShare: number;
  readonly health: { readonly factor: number; readonly state: string };
  /** Estimated, of all nodes. */
  readonly viewers: number;
  readonly gbps: number;
  readonly capacityFactor: number;
  readonly costFactor: number;
};

/** A CDN as the API shows it. */
export type CdnView = CdnConfig & {
  readonly name: string;
  /** Its ETag is this in quotes. */
  readonly generation: number;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly status: CdnStatus;
};

/** What a view is made from. */
export type CdnViewSource = {
  readonly picture: CurrentPicture;
  readonly health: MergedHealth;
  readonly viewersByCdn: ReadonlyMap<string, number>;
  readonly viewerBitrateBps: number;
};

export function toCdnView(cdn: Cdn, source: CdnViewSource): CdnView {
  return {
    name: cdn.name,
    ...configOf(cdn),
    generation: cdn.generation,
    createdAt: new Date(cdn.createdAtMs).toISOString(),
    updatedAt: new Date(cdn.updatedAtMs).toISOString(),
    status: statusOf(cdn, source),
  };
}

function statusOf(cdn: Cdn, source: CdnViewSource): CdnStatus {
  const { snapshot, loads } = source.picture.compiled;
  const agreed = source.health.cdns.get(cdn.name);
  const load = loads.find(({ name }) => name === cdn.name);
  const weights = new Map(
    snapshot.cdns.map((entry) => [entry.name, entry.enabled ? entry.weight * entry.health : 0]),
  );
  const viewers = Math.round(source.viewersByCdn.get(cdn.name) ?? 0);
  return {
    effectiveWeight: weights.get(cdn.name) ?? 0,
    expectedShare: expectedShare(cdn, source, weights),
    health: { factor: agreed?.factor ?? 1, state: agreed?.state ?? 'unknown' },
    viewers,
    gbps: Math.round((viewers * source.viewerBitrateBps) / 1e6) / 1e3,
    capacityFactor: load?.capacityFactor ?? 1,
    costFactor: load?.costFactor ?? 1,
  };
}

/** For viewers from anywhere: what each class is left with by the classes before it, shared out by weight. */
function expectedShare(cdn: Cdn, { picture }: CdnViewSource, weights: ReadonlyMap<string, number>): number {
  const { snapshot } = picture.compiled;
  const own = weights.get(cdn.name) ?? 0;
  if (own === 0) return 0;
  const live = snapshot.cdns.filter(({ name }) => (weights.get(name) ?? 0) > 0);
  const classes = [...new Set(live.map(({ priorityClass }) => priorityClass))].toSorted((a, b) => a - b);
  let left = 1;
  for (const priorityClass of classes) {
    const isLast = priorityClass === classes.at(-1);
    const spill = snapshot.spill.find((entry) => entry.priorityClass === priorityClass)?.share ?? 0;
    const passedOn = isLast ? 0 : left * spill;
    if (priorityClass === cdn.priorityClass) {
      const members = live.filter((entry) => entry.priorityClass === priorityClass);
      const sum = members.reduce((total, { name }) => total + (weights.get(name) ?? 0), 0);
      return ((left - passedOn) * own) / sum;
    }
    left = passedOn;
  }
  return 0;
}

/** A change that is still to come, as the API shows it. */
export function toChangeView(change: PlannedChange): Readonly<Record<string, unknown>> {
  const { id, kind, cdn, patch, actor, reason } = change;
  return {
    id,
    kind,
    cdn,
    dueAt: new Date(change.dueAtMs).toISOString(),
    patch,
    revertAfter: change.revertAfterS,
    actor,
    reason,
  };
}
