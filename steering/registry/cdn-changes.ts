import { randomUUID } from 'node:crypto';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Actor } from '#steering/registry/actor.ts';
import { canonicalJson } from '#steering/registry/canonical-json.ts';
import {
  CDN_COUNT_MAX,
  CdnConfig,
  CdnPatch,
  configOf,
  patchCdnConfig,
  type Cdn,
} from '#steering/registry/cdn.ts';
import { countCdns, insertCdn, readCdn, removeCdn, replaceCdn } from '#steering/registry/cdns-table.ts';
import {
  dueChanges,
  finishPlannedChange,
  insertPlannedChange,
  pendingChanges,
  plannedActor,
  PLANNED_CHANGES_MAX,
  type PlannedChange,
} from '#steering/registry/planned-change.ts';
import type { RegistryTransaction } from '#steering/registry/registry-transaction.ts';

/** A change as an operator orders it. */
export type ChangeOrder = {
  readonly name: string;
  readonly patch: CdnPatch;
  /** Generation of the CDN that the operator has seen. */
  readonly expectedGeneration: number;
  readonly reason: string;
  /** Seconds after which the former values come back. */
  readonly revertAfterS: number | null;
  /** When the change is to be made; `null`: now. */
  readonly dueAt: Date | null;
};

/** Most due changes carried out in one transaction. */
const DUE_BATCH = 20;

/** @throws {ProblemError} 409 `cdn_exists`, 409 `cdn_limit_reached` */
export async function createCdn(
  transaction: RegistryTransaction,
  actor: Actor,
  name: string,
  config: CdnConfig,
  reason: string,
): Promise<Cdn> {
  if ((await countCdns(transaction.sql)) >= CDN_COUNT_MAX)
    throw new ProblemError(
      409,
      'cdn_limit_reached',
      `There are ${CDN_COUNT_MAX} CDNs already; delete one first.`,
    );
  const cdn = await insertCdn(transaction.sql, name, config, transaction.nextGeneration());
  if (cdn === undefined)
    throw new ProblemError(409, 'cdn_exists', `There is a CDN named ${name} already; change it with PATCH.`);
  const event = { action: 'cdn.created', cdn: name, reason, before: null, changeId: null } as const;
  await transaction.audit(actor, { ...event, after: configOf(cdn) });
  return cdn;
}

/**
 * Makes or schedules a change.
 *
 * @returns the CDN as it is afterwards, and what is to happen later
 * @throws {ProblemError} 404 `cdn_not_found`, 412 `generation_mismatch`, 409 `change_limit_reached`
 */
export async function orderChange(
  transaction: RegistryTransaction,
  actor: Actor,
  order: ChangeOrder,
): Promise<{ cdn: Cdn; planned: PlannedChange | null }> {
  const before = await expectCdn(transaction, order.name, order.expectedGeneration);
  if (order.dueAt !== null) {
    const planned = await plan(transaction, actor, {
      kind: 'scheduled',
      cdn: order.name,
      dueAtMs: order.dueAt.getTime(),
      patch: order.patch,
      expected: null,
      revertAfterS: order.revertAfterS,
      reason: order.reason,
    });
    const event = {
      action: 'change.scheduled',
      cdn: order.name,
      reason: order.reason,
      before: null,
    } as const;
    await transaction.audit(actor, { ...event, after: describePlan(planned), changeId: planned.id });
    return { cdn: before, planned };
  }
  return replaceConfig(transaction, actor, before, patchCdnConfig(configOf(before), order.patch), {
    reason: order.reason,
    revertAfterS: order.revertAfterS,
    changeId: null,
  });
}

/** @throws {ProblemError} 404 `cdn_not_found`, 412 `generation_mismatch` */
export async function deleteCdn(
  transaction: RegistryTransaction,
  actor: Actor,
  order: { readonly name: string; readonly expectedGeneration: number; readonly reason: string },
): Promise<Cdn> {
  const before = await expectCdn(transaction, order.name, order.expectedGeneration);
  await removeCdn(transaction.sql, order.name);
  transaction.nextGeneration();
  const event = { action: 'cdn.deleted', cdn: order.name, reason: order.reason, changeId: null } as const;
  await transaction.audit(actor, { ...event, before: configOf(before), after: null });
  return before;
}

/** @throws {ProblemError} 404 `change_not_found` when there is none that still waits */
export async function cancelChange(
  transaction: RegistryTransaction,
  actor: Actor,
  id: string,
  reason: string,
): Promise<PlannedChange> {
  const change = (await pendingChanges(transaction.sql)).find((candidate) => candidate.id === id);
  if (change === undefined || !(await finishPlannedChange(transaction.sql, id, 'cancelled', reason)))
    throw new ProblemError(
      404,
      'change_not_found',
      'No change of that id waits; it may have been made already.',
    );
  const event = { action: 'change.cancelled', cdn: change.cdn, reason, after: null, changeId: id } as const;
  await transaction.audit(actor, { ...event, before: describePlan(change) });
  return change;
}

/** Carries out what is due by the database's clock; returns how much that was. */
export async function carryOutDueChanges(transaction: RegistryTransaction): Promise<number> {
  const due = await dueChanges(transaction.sql, DUE_BATCH);
  for (const change of due) await carryOut(transaction, change);
  return due.length;
}

async function carryOut(transaction: RegistryTransaction, change: PlannedChange): Promise<void> {
  const actor = plannedActor(change);
  const reason = change.kind === 'revert' ? `taking back: ${change.reason}` : change.reason;
  const event = { cdn: change.cdn, reason, before: describePlan(change), after: null, changeId: change.id };
  const cdn = await readCdn(transaction.sql, change.cdn);
  if (cdn === undefined) {
    await finishPlannedChange(transaction.sql, change.id, 'failed', 'the CDN is gone');
    await transaction.audit(actor, { ...event, action: 'change.failed' });
    return;
  }
  const config = change.kind === 'revert' ? takenBack(cdn, change) : patched(cdn, change);
  if (typeof config === 'string') {
    await finishPlannedChange(transaction.sql, change.id, config, 'nothing left to do');
    await transaction.audit(actor, { ...event, action: `change.${config}` });
    return;
  }
  await finishPlannedChange(transaction.sql, change.id, 'done', '');
  await replaceConfig(transaction, actor, cdn, config, {
    reason,
    revertAfterS: change.revertAfterS,
    changeId: change.id,
  });
}

function patched(cdn: Cdn, change: PlannedChange): CdnConfig | 'failed' {
  const patch = CdnPatch.safeParse(change.patch);
  return patch.success ? patchCdnConfig(configOf(cdn), patch.data) : 'failed';
}

/** With the former values of those fields that nobody has changed since. */
function takenBack(cdn: Cdn, change: PlannedChange): CdnConfig | 'failed' | 'superseded' {
  const config: Record<string, unknown> = configOf(cdn);
  const fields = Object.entries(change.patch).filter(
    ([field]) => canonicalJson(config[field]) === canonicalJson(change.expected?.[field]),
  );
  if (fields.length === 0) return 'superseded';
  return CdnConfig.safeParse({ ...config, ...Object.fromEntries(fields) }).data ?? 'failed';
}

async function replaceConfig(
  transaction: RegistryTransaction,
  actor: Actor,
  before: Cdn,
  config: CdnConfig,
  why: { readonly reason: string; readonly revertAfterS: number | null; readonly changeId: string | null },
): Promise<{ cdn: Cdn; planned: PlannedChange | null }> {
  const former = configOf(before);
  const cdn = await replaceCdn(transaction.sql, before.name, config, transaction.nextGeneration());
  const { reason, changeId } = why;
  const event = { action: 'cdn.updated', cdn: cdn.name, reason, changeId } as const;
  await transaction.audit(actor, { ...event, before: former, after: config });
  const changed = (Object.keys(former) as (keyof CdnConfig)[]).filter(
    (field) => canonicalJson(former[field]) !== canonicalJson(config[field]),
  );
  if (why.revertAfterS === null || changed.length === 0) return { cdn, planned: null };
  const planned = await plan(transaction, actor, {
    kind: 'revert',
    cdn: cdn.name,
    dueAtMs: transaction.now.getTime() + why.revertAfterS * 1_000,
    patch: Object.fromEntries(changed.map((field) => [field, former[field]])),
    expected: Object.fromEntries(changed.map((field) => [field, config[field]])),
    revertAfterS: null,
    reason,
  });
  return { cdn, planned };
}

async function plan(
  transaction: RegistryTransaction,
  actor: Actor,
  change: Omit<PlannedChange, 'id' | 'actor' | 'role'>,
): Promise<PlannedChange> {
  if ((await pendingChanges(transaction.sql)).length >= PLANNED_CHANGES_MAX)
    throw new ProblemError(
      409,
      'change_limit_reached',
      `${PLANNED_CHANGES_MAX} changes wait already; cancel one first.`,
    );
  const planned: PlannedChange = { ...change, id: randomUUID(), actor: actor.name, role: actor.role };
  await insertPlannedChange(transaction.sql, planned);
  return planned;
}

async function expectCdn(transaction: RegistryTransaction, name: string, generation: number): Promise<Cdn> {
  const cdn = await readCdn(transaction.sql, name);
  if (cdn === undefined) throw cdnNotFound(name);
  if (cdn.generation !== generation)
    throw new ProblemError(
      412,
      'generation_mismatch',
      `${name} has been changed meanwhile (it is at generation ${cdn.generation}); look at it again.`,
      { headers: { etag: cdnEtag(cdn) } },
    );
  return cdn;
}

export function cdnNotFound(name: string): ProblemError {
  return new ProblemError(404, 'cdn_not_found', `There is no CDN named ${name.slice(0, 64)}.`);
}

/** Strong validator of a CDN: its generation. @spec RFC 9110 §8.8.3 */
export function cdnEtag(cdn: Cdn): string {
  return `"${cdn.generation}"`;
}

function describePlan(change: PlannedChange): Record<string, unknown> {
  const { kind, patch, revertAfterS } = change;
  return { kind, patch, revertAfterS, dueAt: new Date(change.dueAtMs).toISOString() };
}
