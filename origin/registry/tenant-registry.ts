import { ProblemError } from '#runtime/http/problem.ts';
import { violatedConstraint } from '#runtime/postgres/database-errors.ts';
import { appendAudit, listAudit, type AuditRecord } from '#origin/registry/audit-table.ts';
import type { Idempotency } from '#origin/registry/idempotency-table.ts';
import { changeRegistry, type Changed, type RegistryChangeDeps } from '#origin/registry/registry-change.ts';
import type { Actor } from '#origin/registry/stream-record.ts';
import {
  DEFAULT_TENANT_ID,
  deleteTenant,
  findTenant,
  insertTenant,
  listTenants,
  lockTenant,
  updateTenant,
  type TenantRecord,
} from '#origin/registry/tenants-table.ts';

/** What may be chosen about a tenant. */
export type TenantSettings = Pick<TenantRecord, 'name' | 'streamsMax' | 'liveMax'>;

/** The tenants in PostgreSQL, and what was changed by whom. */
export class TenantRegistry {
  readonly #deps: RegistryChangeDeps;

  constructor(deps: RegistryChangeDeps) {
    this.#deps = deps;
  }

  /** @throws {ProblemError} 409 `tenant_exists`, 422 `idempotency_key_reused` */
  create(
    actor: Actor,
    id: string,
    settings: TenantSettings,
    idempotency?: Idempotency,
  ): Promise<Changed<TenantRecord>> {
    return changeRegistry(this.#deps, actor, idempotency, async (sql, nowMs) => {
      const tenant = { id, ...settings, createdAtMs: nowMs, updatedAtMs: nowMs };
      if (!(await insertTenant(sql, tenant)))
        throw new ProblemError(409, 'tenant_exists', `There is a tenant ${id} already.`);
      await appendAudit(sql, actor, nowMs, {
        action: 'tenant.created',
        subject: `tenant:${id}`,
        after: tenant,
      });
      return tenant;
    });
  }

  /** By id. @param afterId where the page begins; '' at the beginning */
  list(limit: number, afterId: string): Promise<TenantRecord[]> {
    return this.#deps.database.run(({ sql }) => listTenants(sql, limit, afterId));
  }

  /** @throws {ProblemError} 404 `tenant_not_found` */
  async get(id: string): Promise<TenantRecord> {
    const found = await this.#deps.database.run(({ sql }) => findTenant(sql, id));
    if (found === undefined) throw tenantNotFound(id);
    return found;
  }

  /** Changes what is given and leaves the rest. @throws {ProblemError} 404 `tenant_not_found` */
  async update(actor: Actor, id: string, changes: Partial<TenantSettings>): Promise<TenantRecord> {
    const { result } = await changeRegistry(this.#deps, actor, undefined, async (sql, nowMs) => {
      const before = await lockTenant(sql, id);
      if (before === undefined) throw tenantNotFound(id);
      const after = { ...before, ...changes, updatedAtMs: nowMs };
      await updateTenant(sql, after);
      await appendAudit(sql, actor, nowMs, {
        action: 'tenant.updated',
        subject: `tenant:${id}`,
        before,
        after,
      });
      return after;
    });
    return result;
  }

  /** With its API keys. @throws {ProblemError} 404 `tenant_not_found`, 409 `tenant_not_empty`, `tenant_is_default` */
  async delete(actor: Actor, id: string): Promise<void> {
    if (id === DEFAULT_TENANT_ID)
      throw new ProblemError(409, 'tenant_is_default', 'The default tenant stays.');
    await changeRegistry(this.#deps, actor, undefined, async (sql, nowMs) => {
      const before = await lockTenant(sql, id);
      if (before === undefined) throw tenantNotFound(id);
      await deleteTenant(sql, id).catch((error: unknown) => {
        if (violatedConstraint(error) !== 'streams_tenant') throw error;
        throw new ProblemError(409, 'tenant_not_empty', `Tenant ${id} has streams; delete them first.`);
      });
      await appendAudit(sql, actor, nowMs, { action: 'tenant.deleted', subject: `tenant:${id}`, before });
    });
  }

  /** What was changed for a tenant, newest first. */
  audit(
    tenantId: string,
    limit: number,
    wanted: { readonly beforeId?: number | undefined; readonly streamId?: string | undefined },
  ): Promise<AuditRecord[]> {
    return this.#deps.database.run(({ sql }) => listAudit(sql, tenantId, limit, wanted));
  }
}

export function tenantNotFound(id: string): ProblemError {
  return new ProblemError(404, 'tenant_not_found', `There is no tenant ${id}.`);
}
