import type { Clock } from '#runtime/clock.ts';
import type { Sql } from '#runtime/postgres/connection.ts';
import type { Database } from '#runtime/postgres/database.ts';
import {
  claimIdempotency,
  storeIdempotentResult,
  type Idempotency,
} from '#origin/registry/idempotency-table.ts';
import type { SealedJson } from '#origin/registry/sealed-json.ts';
import type { Actor } from '#origin/registry/stream-record.ts';

/** What a change did, and whether it had been done by an earlier request with the same Idempotency-Key. */
export type Changed<Result> = { readonly result: Result; readonly replayed: boolean };

export type RegistryChangeDeps = {
  readonly database: Database;
  readonly box: SealedJson;
  readonly clock: Clock;
};

/**
 * Makes a change in one transaction: everything of `work`, or nothing; with an Idempotency-Key once, however often asked.
 *
 * @throws {ProblemError} 422 `idempotency_key_reused`, and what `work` throws
 * @throws {DatabaseUnavailableError}
 */
export function changeRegistry<Result>(
  { database, box, clock }: RegistryChangeDeps,
  actor: Actor,
  idempotency: Idempotency | undefined,
  work: (sql: Sql, nowMs: number) => Promise<Result>,
): Promise<Changed<Result>> {
  const nowMs = clock.nowMs();
  return database.transaction(async ({ sql }) => {
    if (idempotency === undefined) return { result: await work(sql, nowMs), replayed: false };
    const before = await claimIdempotency(sql, actor.tenantId, idempotency, nowMs, box);
    if (before !== undefined) return { result: before.result as Result, replayed: true };
    const result = await work(sql, nowMs);
    await storeIdempotentResult(sql, actor.tenantId, idempotency, result, box);
    return { result, replayed: false };
  });
}
