import { timingSafeEqual } from 'node:crypto';
import type { Sql } from '#runtime/postgres/connection.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { SealedJson } from '#origin/registry/sealed-json.ts';

/** A request that may be repeated and is to be carried out once. */
export type Idempotency = {
  /** What the client has chosen. */
  readonly key: string;
  /** Digest of what the request asks for: the same key with another one is a mistake of the client's. */
  readonly fingerprint: Buffer;
};

/** How long a repeated request gets the first one's answer. */
export const IDEMPOTENCY_KEPT_MS = 24 * 60 * 60 * 1000;

/**
 * Takes the key for this transaction, or finds what the request did before. Of two at the same time the second waits for
 * the first.
 *
 * @returns the first result; undefined when this is the first request
 * @throws {ProblemError} 422 `idempotency_key_reused`
 */
export async function claimIdempotency(
  sql: Sql,
  tenantId: string,
  idempotency: Idempotency,
  nowMs: number,
  box: SealedJson,
): Promise<{ readonly result: unknown } | undefined> {
  const [claimed] = await sql`
    insert into origin.idempotency_keys as i (tenant_id, key, fingerprint, created_at)
    values (${tenantId}, ${idempotency.key}, ${idempotency.fingerprint}, ${new Date(nowMs)})
    on conflict (tenant_id, key) do update
      set fingerprint = excluded.fingerprint, sealed_result = null, created_at = excluded.created_at
      where i.created_at < ${new Date(nowMs - IDEMPOTENCY_KEPT_MS)}
    returning i.key`;
  if (claimed !== undefined) return undefined;
  const [row] = await sql<{ fingerprint: Buffer; sealed_result: Buffer }>`
    select fingerprint, sealed_result from origin.idempotency_keys
    where tenant_id = ${tenantId} and key = ${idempotency.key}`;
  if (row === undefined || !timingSafeEqual(row.fingerprint, idempotency.fingerprint))
    throw new ProblemError(
      422,
      'idempotency_key_reused',
      'This Idempotency-Key came with another request before; take a new one.',
    );
  return { result: box.open(row.sealed_result) };
}

/** Stores what the request did, in the same transaction. */
export async function storeIdempotentResult(
  sql: Sql,
  tenantId: string,
  idempotency: Idempotency,
  result: unknown,
  box: SealedJson,
): Promise<void> {
  await sql`
    update origin.idempotency_keys set sealed_result = ${box.seal(result)}
    where tenant_id = ${tenantId} and key = ${idempotency.key}`;
}

export async function forgetOldIdempotency(sql: Sql, nowMs: number): Promise<void> {
  await sql`
    delete from origin.idempotency_keys where created_at < ${new Date(nowMs - IDEMPOTENCY_KEPT_MS)}`;
}
