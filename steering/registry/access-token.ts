import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Sql } from '#runtime/postgres/connection.ts';
import { ROLES, type Role } from '#steering/registry/actor.ts';

/** Most tokens that are valid at a time. */
export const ACCESS_TOKENS_MAX = 200;

/** A bearer token as it is kept: by its hash alone, which is enough for 256 random bits. */
export const AccessToken = z.object({
  id: z.uuid(),
  name: z.string(),
  role: z.enum(ROLES),
  /** SHA-256 of the token's text, hex. */
  hash: z.string(),
  createdAtMs: z.number(),
  expiresAtMs: z.number().nullable(),
});
export type AccessToken = z.infer<typeof AccessToken>;

export function accessTokenHash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Makes a token. Its text is given out once and kept nowhere. */
export function newAccessToken(
  name: string,
  role: Role,
  nowMs: number,
  expiresAtMs: number | null,
): { token: AccessToken; text: string } {
  const text = `steer_${randomBytes(32).toString('base64url')}`;
  const hash = accessTokenHash(text);
  return { text, token: { id: randomUUID(), name, role, hash, createdAtMs: nowMs, expiresAtMs } };
}

export async function insertAccessToken(sql: Sql, token: AccessToken): Promise<void> {
  await sql`
    insert into steering.access_tokens (id, name, role, hash, created_at, expires_at)
    values (${token.id}, ${token.name}, ${token.role}, ${token.hash}, ${new Date(token.createdAtMs)},
      ${token.expiresAtMs === null ? null : new Date(token.expiresAtMs)})`;
}

/** Ends a token's validity; undefined when there is no such token. */
export async function revokeAccessToken(
  sql: Sql,
  id: string,
): Promise<{ name: string; role: Role } | undefined> {
  const rows = await sql<{ name: string; role: Role }>`
    update steering.access_tokens set revoked_at = now() where id = ${id} and revoked_at is null
    returning name, role`;
  return rows[0];
}

/** All that are valid or will be looked at for their expiry. */
export async function validAccessTokens(sql: Sql): Promise<AccessToken[]> {
  const rows = await sql<{
    id: string;
    name: string;
    role: Role;
    hash: string;
    created_at: Date;
    expires_at: Date | null;
  }>`select * from steering.access_tokens
     where revoked_at is null and (expires_at is null or expires_at > now()) order by created_at, id`;
  return rows.map((row) => ({
    id: row.id,
    name: row.name,
    role: row.role,
    hash: row.hash,
    createdAtMs: row.created_at.getTime(),
    expiresAtMs: row.expires_at?.getTime() ?? null,
  }));
}
