import { z } from 'zod';
import { PATHWAY_ID_PATTERN } from '#protocol/steering/pathway-id.ts';
import type { Sql } from '#runtime/postgres/connection.ts';
import { ROLES, type Actor } from '#steering/registry/actor.ts';

/** Most changes that may wait at a time, and how far ahead one may lie. */
export const PLANNED_CHANGES_MAX = 100;
export const PLAN_AHEAD_MAX_S = 366 * 24 * 3_600;

/** A change of a CDN that is to be made later. */
export const PlannedChange = z.object({
  id: z.uuid(),
  /** `scheduled`: ordered for a time; `revert`: takes an earlier change back. */
  kind: z.enum(['scheduled', 'revert']),
  cdn: z.string().regex(PATHWAY_ID_PATTERN),
  dueAtMs: z.number(),
  /** Scheduled: a merge patch. Revert: the fields with their former values. */
  patch: z.record(z.string(), z.unknown()),
  /** Revert: what the fields must still be; one that somebody has changed since is left alone. */
  expected: z.record(z.string(), z.unknown()).nullable(),
  /** Scheduled: how long the change is to last, seconds. */
  revertAfterS: z.int().nullable(),
  actor: z.string(),
  role: z.enum(ROLES),
  reason: z.string(),
});
export type PlannedChange = z.infer<typeof PlannedChange>;

type Row = {
  id: string;
  kind: PlannedChange['kind'];
  cdn: string;
  due_at: Date;
  patch: Record<string, unknown>;
  expected: Record<string, unknown> | null;
  revert_after_s: number | null;
  actor: string;
  role: PlannedChange['role'];
  reason: string;
};

export async function insertPlannedChange(sql: Sql, change: PlannedChange): Promise<void> {
  await sql`
    insert into steering.changes (id, kind, cdn, due_at, patch, expected, revert_after_s, actor, role, reason)
    values (${change.id}, ${change.kind}, ${change.cdn}, ${new Date(change.dueAtMs)}, ${change.patch}::jsonb,
      ${change.expected}::jsonb, ${change.revertAfterS}, ${change.actor}, ${change.role}, ${change.reason})`;
}

/** All that are still to come, the next first. */
export async function pendingChanges(sql: Sql): Promise<PlannedChange[]> {
  const rows = await sql<Row>`select * from steering.changes where state = 'pending' order by due_at, id`;
  return rows.map(fromRow);
}

/** Those that are due by the database's clock. */
export async function dueChanges(sql: Sql, limit: number): Promise<PlannedChange[]> {
  const rows = await sql<Row>`
    select * from steering.changes where state = 'pending' and due_at <= now() order by due_at, id limit ${limit}`;
  return rows.map(fromRow);
}

/** Notes what became of a change; false when it was not waiting any more. */
export async function finishPlannedChange(
  sql: Sql,
  id: string,
  state: 'done' | 'cancelled' | 'failed' | 'superseded',
  outcome: string,
): Promise<boolean> {
  const rows = await sql`
    update steering.changes set state = ${state}, outcome = ${outcome}, finished_at = now()
    where id = ${id} and state = 'pending' returning id`;
  return rows.length > 0;
}

/** Forgets finished changes of long ago; the audit keeps what they did. */
export async function forgetOldChanges(sql: Sql): Promise<void> {
  await sql`delete from steering.changes where finished_at < now() - interval '30 days'`;
}

/** The one in whose name a planned change is made. */
export function plannedActor(change: PlannedChange): Actor {
  return { name: change.actor, role: change.role, requestId: `change:${change.id}` };
}

function fromRow(row: Row): PlannedChange {
  return {
    id: row.id,
    kind: row.kind,
    cdn: row.cdn,
    dueAtMs: row.due_at.getTime(),
    patch: row.patch,
    expected: row.expected,
    revertAfterS: row.revert_after_s,
    actor: row.actor,
    role: row.role,
    reason: row.reason,
  };
}
