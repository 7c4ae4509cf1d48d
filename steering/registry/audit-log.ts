import { createHash } from 'node:crypto';
import type { Sql } from '#runtime/postgres/connection.ts';
import type { Actor } from '#steering/registry/actor.ts';
import { canonicalJson } from '#steering/registry/canonical-json.ts';

export type AuditAction =
  | 'cdn.created'
  | 'cdn.updated'
  | 'cdn.deleted'
  | 'change.scheduled'
  | 'change.cancelled'
  | 'change.failed'
  | 'change.superseded'
  | 'token.created'
  | 'token.revoked';

/** What happened, in the words of the one who writes it down. */
export type AuditEvent = {
  readonly action: AuditAction;
  readonly cdn: string | null;
  /** Why, as the operator has said. */
  readonly reason: string;
  readonly before: unknown;
  readonly after: unknown;
  /** The later change that this entry is about, or that brought it about. */
  readonly changeId: string | null;
};

/** An entry of the audit. Its text is hashed, so all of it must be plain JSON. */
export type AuditEntry = AuditEvent & {
  /** Counts from 1 without gaps. */
  readonly seq: number;
  /** ISO 8601, of the database's clock. */
  readonly at: string;
  readonly actor: string;
  readonly role: string;
  readonly requestId: string;
  /** Of the registry, after the change. */
  readonly generation: number;
};

/** An entry with its place in the chain. */
export type ChainedAuditEntry = AuditEntry & {
  /** SHA-256 of the entry before, in hex; empty for the first. */
  readonly previousHash: string;
  /** SHA-256 of `{previousHash}\n{the entry without both hashes as JSON with sorted keys}`, in hex. */
  readonly hash: string;
};

export function auditHash(previousHash: string, entryText: string): string {
  return createHash('sha256').update(`${previousHash}\n${entryText}`).digest('hex');
}

/** Adds an entry behind the one whose number and hash are given; to be called with the registry's row locked. */
export async function appendAudit(
  sql: Sql,
  end: { readonly seq: number; readonly hash: string },
  at: Date,
  actor: Actor,
  generation: number,
  event: AuditEvent,
): Promise<{ seq: number; hash: string }> {
  const entry: AuditEntry = {
    ...event,
    seq: end.seq + 1,
    at: at.toISOString(),
    actor: actor.name,
    role: actor.role,
    requestId: actor.requestId,
    generation,
  };
  const text = canonicalJson(entry);
  const hash = auditHash(end.hash, text);
  await sql`
    insert into steering.audit (seq, at, cdn, entry, previous_hash, hash)
    values (${entry.seq}, ${at}, ${event.cdn}, ${text}, ${end.hash}, ${hash})`;
  return { seq: entry.seq, hash };
}

/** Entries before a number, newest first. */
export async function listAudit(
  sql: Sql,
  filter: { readonly before: number; readonly limit: number; readonly cdn: string | null },
): Promise<ChainedAuditEntry[]> {
  const rows = await sql<{ entry: string; previous_hash: string; hash: string }>`
    select entry, previous_hash, hash from steering.audit
    where seq < ${filter.before} and (${filter.cdn}::text is null or cdn = ${filter.cdn})
    order by seq desc limit ${filter.limit}`;
  return rows.map((row) => ({
    ...(JSON.parse(row.entry) as AuditEntry),
    previousHash: row.previous_hash,
    hash: row.hash,
  }));
}

/**
 * Checks a run of entries, oldest first, against one another.
 *
 * @returns number of the first entry that does not follow from the one before; undefined when all do
 */
export function findBrokenLink(entries: readonly ChainedAuditEntry[]): number | undefined {
  for (const [index, chained] of entries.entries()) {
    const { hash, previousHash, ...entry } = chained;
    const before = entries[index - 1];
    const follows = before === undefined || (before.hash === previousHash && before.seq + 1 === entry.seq);
    if (!follows || auditHash(previousHash, canonicalJson(entry)) !== hash) return entry.seq;
  }
  return undefined;
}
