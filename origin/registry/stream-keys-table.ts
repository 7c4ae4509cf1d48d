import type { Sql } from '#runtime/postgres/connection.ts';
import type { StreamKey } from '#origin/registry/stream-keys.ts';
import type { StreamKeyRecord } from '#origin/registry/stream-record.ts';

type KeyRow = { id: string; created_at: Date; not_after: Date | null };

/** Keys of one stream that may be valid at the same time: the new one and the one it replaces. */
export const ACTIVE_KEYS_MAX = 2;

/** The keys of a stream that have not expired, newest first. */
export async function readActiveKeys(sql: Sql, streamId: string, nowMs: number): Promise<StreamKeyRecord[]> {
  const rows = await sql<KeyRow>`
    select id, created_at, not_after from origin.stream_keys
    where stream_id = ${streamId} and (not_after is null or not_after > ${new Date(nowMs)})
    order by created_at desc, id`;
  return rows.map((row) => ({
    id: row.id,
    createdAtMs: row.created_at.getTime(),
    notAfterMs: row.not_after?.getTime() ?? null,
  }));
}

/**
 * Makes `key` the stream's key. The newest of the others stays valid until `keepUntilMs` (null: without end), all the
 * rest end now; without `keepUntilMs` all of them do.
 *
 * @param notAfterMs when the new key ends; null for not before it is replaced
 * @returns false when another stream has this key, and nothing is changed
 */
export async function putKey(
  sql: Sql,
  streamId: string,
  key: StreamKey,
  nowMs: number,
  keepUntilMs?: number | null,
  notAfterMs: number | null = null,
): Promise<boolean> {
  const [mine] = await sql`
    insert into origin.stream_keys as k (id, stream_id, digest, created_at, not_after)
    values (${key.keyId}, ${streamId}, ${key.digest}, ${new Date(nowMs)},
      ${notAfterMs === null ? null : new Date(notAfterMs)})
    on conflict (id) do update set created_at = excluded.created_at, not_after = excluded.not_after
      where k.stream_id = excluded.stream_id
    returning k.id`;
  if (mine === undefined) return false;
  const others = (await readActiveKeys(sql, streamId, nowMs)).filter(({ id }) => id !== key.keyId);
  const kept = keepUntilMs === undefined ? undefined : others[0];
  await sql`
    delete from origin.stream_keys
    where stream_id = ${streamId} and id <> ${key.keyId} and id <> ${kept?.id ?? ''}`;
  if (kept !== undefined && typeof keepUntilMs === 'number') {
    const untilMs = Math.min(keepUntilMs, kept.notAfterMs ?? keepUntilMs);
    await sql`update origin.stream_keys set not_after = ${new Date(untilMs)} where id = ${kept.id}`;
  }
  return true;
}

/** @returns false when the stream has no such key */
export async function deleteKey(sql: Sql, streamId: string, keyId: string): Promise<boolean> {
  const rows = await sql`
    delete from origin.stream_keys where stream_id = ${streamId} and id = ${keyId} returning id`;
  return rows.length > 0;
}

export async function deleteExpiredKeys(sql: Sql, nowMs: number): Promise<void> {
  await sql`delete from origin.stream_keys where not_after <= ${new Date(nowMs)}`;
}
