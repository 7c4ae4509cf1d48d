import type { Sql } from '#runtime/postgres/connection.ts';
import type { Database } from '#runtime/postgres/database.ts';
import type { Actor } from '#steering/registry/actor.ts';
import { appendAudit, type AuditEvent } from '#steering/registry/audit-log.ts';
import { claimIdempotency, storeIdempotentResult, type Idempotency } from '#steering/registry/idempotency.ts';

/** A change of the registry while it is being made. Everything in it happens, or nothing. */
export type RegistryTransaction = {
  readonly sql: Sql;
  /** The database's clock at the start of the transaction. */
  readonly now: Date;
  /** Takes the next generation, for a change of a CDN; the same one when called again. */
  nextGeneration(): number;
  /** Writes a line of the audit. */
  audit(actor: Actor, event: AuditEvent): Promise<void>;
};

/** What a transaction did. */
export type RegistryResult<Value> = {
  readonly value: Value;
  /** Of everything that nodes keep in memory, after the change. */
  readonly revision: number;
  /** The change was made by an earlier request with the same Idempotency-Key. */
  readonly replayed: boolean;
};

/**
 * Makes a change of the registry with its one row locked: changes happen one after the other, on whichever node, so that
 * generations and the numbers of the audit have no gaps.
 *
 * @param idempotency the result of the first request with this key is given back, and nothing is done again
 * @throws {DatabaseUnavailableError}
 */
export function changeRegistry<Value extends Readonly<Record<string, unknown>>>(
  database: Database,
  actor: Actor,
  idempotency: Idempotency | undefined,
  work: (transaction: RegistryTransaction) => Promise<Value>,
): Promise<RegistryResult<Value>> {
  return database.transaction(async ({ sql }) => {
    const [row] = await sql<RegistryRow>`
      select generation, revision, audit_seq, audit_hash, now() as now from steering.registry for update`;
    if (row === undefined) throw new Error('the registry has lost its row');
    if (idempotency !== undefined) {
      const earlier = await claimIdempotency(sql, actor, idempotency);
      if (earlier !== undefined)
        return { value: earlier.result as Value, revision: row.revision, replayed: true };
    }
    let generation = row.generation;
    let end = { seq: row.audit_seq, hash: row.audit_hash };
    const value = await work({
      sql,
      now: row.now,
      nextGeneration: () => (generation = row.generation + 1),
      audit: async (by, event) => {
        end = await appendAudit(sql, end, row.now, by, generation, event);
      },
    });
    const revision = row.revision + 1;
    await sql`
      update steering.registry
      set generation = ${generation}, revision = ${revision}, audit_seq = ${end.seq}, audit_hash = ${end.hash}`;
    if (idempotency !== undefined) await storeIdempotentResult(sql, actor, idempotency, value);
    return { value, revision, replayed: false };
  });
}

type RegistryRow = {
  generation: number;
  revision: number;
  audit_seq: number;
  audit_hash: string;
  now: Date;
};
