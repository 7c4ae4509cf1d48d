import { createHash } from 'node:crypto';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Sql } from '#runtime/postgres/connection.ts';
import type { Actor } from '#steering/registry/actor.ts';
import { canonicalJson } from '#steering/registry/canonical-json.ts';

/** A request that may be repeated and is to be carried out once. */
export type Idempotency = {
  /** What the client has chosen. */
  readonly key: string;
  /** Digest of what the request asks for: the same key with another one is a mistake of the client's. */
  readonly fingerprint: string;
};

/** A digest of everything that makes a request what it is. */
export function requestFingerprint(...parts: readonly unknown[]): string {
  return createHash('sha256').update(canonicalJson(parts)).digest('hex');
}

/**
 * Takes the key for this transaction, or finds what the request did before.
 *
 * @returns the first result; undefined when this is the first request
 * @throws {ProblemError} 422 `idempotency_key_reused`
 */
export async function claimIdempotency(
  sql: Sql,
  actor: Actor,
  idempotency: Idempotency,
): Promise<{ readonly result: unknown } | undefined> {
  const claimed = await sql`
    insert into steering.idempotency_keys (actor, key, fingerprint)
    values (${actor.name}, ${idempotency.key}, ${idempotency.fingerprint})
    on conflict do nothing returning key`;
  if (claimed.length > 0) return undefined;
  const [row] = await sql<{ fingerprint: string; result: unknown }>`
    select fingerprint, result from steering.idempotency_keys
    where actor = ${actor.name} and key = ${idempotency.key}`;
  if (row?.fingerprint !== idempotency.fingerprint)
    throw new ProblemError(
      422,
      'idempotency_key_reused',
      'This Idempotency-Key came with another request before; take a new one.',
    );
  return { result: row.result };
}

/** Stores what the request did, in the same transaction. */
export async function storeIdempotentResult(
  sql: Sql,
  actor: Actor,
  idempotency: Idempotency,
  result: Readonly<Record<string, unknown>>,
): Promise<void> {
  await sql`
    update steering.idempotency_keys set result = ${result}::jsonb
    where actor = ${actor.name} and key = ${idempotency.key}`;
}

/** Repeated requests get the first one's answer for a day. */
export async function forgetOldIdempotencyKeys(sql: Sql): Promise<void> {
  await sql`delete from steering.idempotency_keys where created_at < now() - interval '1 day'`;
}
