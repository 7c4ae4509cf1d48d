import { timingSafeEqual } from 'node:crypto';
import { ProblemError } from '#runtime/http/problem.ts';
import { ApiKeySecrets } from '#origin/registry/api-key-secrets.ts';
import {
  countApiKeys,
  deleteApiKey,
  findApiKey,
  insertApiKey,
  listApiKeys,
  useApiKey,
  type ApiKeyRecord,
  type ApiScope,
} from '#origin/registry/api-keys-table.ts';
import { appendAudit } from '#origin/registry/audit-table.ts';
import type { Idempotency } from '#origin/registry/idempotency-table.ts';
import { changeRegistry, type Changed, type RegistryChangeDeps } from '#origin/registry/registry-change.ts';
import type { Actor } from '#origin/registry/stream-record.ts';
import type { ListPosition } from '#origin/registry/streams-table.ts';
import { tenantNotFound } from '#origin/registry/tenant-registry.ts';
import { lockTenant } from '#origin/registry/tenants-table.ts';

/** Keys that a tenant may have. */
export const API_KEYS_MAX = 200;

/** A new key: the only time it is seen. */
export type ApiKeyAndSecret = { readonly apiKey: ApiKeyRecord; readonly key: string };

/** Keys of the API in PostgreSQL. */
export class ApiKeyRegistry {
  readonly #deps: RegistryChangeDeps;
  readonly #secrets: ApiKeySecrets;

  constructor(deps: RegistryChangeDeps, pepper: Buffer) {
    this.#deps = deps;
    this.#secrets = new ApiKeySecrets(pepper);
  }

  /**
   * Who presents this key. Asks the database only for what could be a key.
   *
   * @returns undefined when no valid key looks like this
   * @throws {DatabaseUnavailableError}
   */
  async recognise(presented: string): Promise<ApiKeyRecord | undefined> {
    const read = this.#secrets.read(presented);
    if (read === undefined) return undefined;
    const { database, clock } = this.#deps;
    const found = await database.run(({ sql }) => useApiKey(sql, read.id, clock.nowMs()));
    if (found === undefined || !timingSafeEqual(found.digest, read.digest)) return undefined;
    const { digest: _, ...key } = found;
    return key;
  }

  /** @throws {ProblemError} 404 `tenant_not_found`, 409 `api_keys_exhausted`, 422 `idempotency_key_reused` */
  create(
    actor: Actor,
    wanted: { readonly name: string; readonly scopes: readonly ApiScope[]; readonly expiresInS?: number },
    idempotency?: Idempotency,
  ): Promise<Changed<ApiKeyAndSecret>> {
    return changeRegistry(this.#deps, actor, idempotency, async (sql, nowMs) => {
      if ((await lockTenant(sql, actor.tenantId)) === undefined) throw tenantNotFound(actor.tenantId);
      if ((await countApiKeys(sql, actor.tenantId)) >= API_KEYS_MAX)
        throw new ProblemError(409, 'api_keys_exhausted', `There may be ${API_KEYS_MAX} keys; delete one.`);
      const { key, id, digest } = this.#secrets.generate();
      const apiKey: ApiKeyRecord = {
        id,
        tenantId: actor.tenantId,
        name: wanted.name,
        scopes: wanted.scopes,
        createdAtMs: nowMs,
        notAfterMs: wanted.expiresInS === undefined ? null : nowMs + wanted.expiresInS * 1_000,
        lastUsedAtMs: null,
      };
      await insertApiKey(sql, apiKey, digest);
      await appendAudit(sql, actor, nowMs, {
        action: 'api_key.created',
        subject: `api_key:${id}`,
        after: apiKey,
      });
      return { apiKey, key };
    });
  }

  /** Newest first. */
  list(tenantId: string, limit: number, after?: ListPosition): Promise<ApiKeyRecord[]> {
    return this.#deps.database.run(({ sql }) => listApiKeys(sql, tenantId, limit, after));
  }

  /** @throws {ProblemError} 404 `api_key_not_found` */
  async get(tenantId: string, id: string): Promise<ApiKeyRecord> {
    return (await this.#deps.database.run(({ sql }) => findApiKey(sql, tenantId, id))) ?? apiKeyNotFound(id);
  }

  /** @throws {ProblemError} 404 `api_key_not_found` */
  async delete(actor: Actor, id: string): Promise<void> {
    await changeRegistry(this.#deps, actor, undefined, async (sql, nowMs) => {
      const before = (await deleteApiKey(sql, actor.tenantId, id)) ?? apiKeyNotFound(id);
      await appendAudit(sql, actor, nowMs, { action: 'api_key.deleted', subject: `api_key:${id}`, before });
    });
  }
}

function apiKeyNotFound(id: string): never {
  throw new ProblemError(404, 'api_key_not_found', `There is no API key ${id}.`);
}
