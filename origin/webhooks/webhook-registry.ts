import { ProblemError } from '#runtime/http/problem.ts';
import { TargetRefusedError, type TargetGuard } from '#runtime/outbound/target-guard.ts';
import { appendAudit } from '#origin/registry/audit-table.ts';
import type { Idempotency } from '#origin/registry/idempotency-table.ts';
import { changeRegistry, type Changed, type RegistryChangeDeps } from '#origin/registry/registry-change.ts';
import { randomName } from '#origin/registry/stream-keys.ts';
import type { Actor } from '#origin/registry/stream-record.ts';
import type { ListPosition } from '#origin/registry/streams-table.ts';
import { tenantNotFound } from '#origin/registry/tenant-registry.ts';
import { lockTenant } from '#origin/registry/tenants-table.ts';
import { listDeliveries, type DeliveryRecord } from '#origin/webhooks/deliveries-table.ts';
import { makeWebhookSecret } from '#origin/webhooks/webhook-signature.ts';
import {
  countWebhooks,
  deleteWebhook,
  findWebhook,
  insertWebhook,
  listWebhooks,
  updateWebhook,
  type WebhookRecord,
} from '#origin/webhooks/webhooks-table.ts';

/** Webhooks that a tenant may have. */
export const WEBHOOKS_MAX = 20;

/** What may be chosen about a webhook. */
export type WebhookSettings = Pick<WebhookRecord, 'url' | 'events' | 'enabled'>;
/** A new webhook: the only time that its secret is seen. */
export type WebhookAndSecret = { readonly webhook: WebhookRecord; readonly secret: string };

/** The webhooks in PostgreSQL. */
export class WebhookRegistry {
  readonly #deps: RegistryChangeDeps;
  readonly #guard: TargetGuard;

  constructor(deps: RegistryChangeDeps, guard: TargetGuard) {
    this.#deps = deps;
    this.#guard = guard;
  }

  /**
   * @throws {ProblemError} 400 `validation_failed` for a URL that leads inside, 404 `tenant_not_found`, 409
   * `webhooks_exhausted`, 422 `idempotency_key_reused`
   */
  create(
    actor: Actor,
    settings: WebhookSettings,
    idempotency?: Idempotency,
  ): Promise<Changed<WebhookAndSecret>> {
    this.#checkUrl(settings.url);
    return changeRegistry(this.#deps, actor, idempotency, async (sql, nowMs) => {
      const { tenantId } = actor;
      if ((await lockTenant(sql, tenantId)) === undefined) throw tenantNotFound(tenantId);
      if ((await countWebhooks(sql, tenantId)) >= WEBHOOKS_MAX)
        throw new ProblemError(
          409,
          'webhooks_exhausted',
          `There may be ${WEBHOOKS_MAX} webhooks; delete one.`,
        );
      const secret = makeWebhookSecret();
      const webhook = {
        id: randomName(),
        tenantId,
        ...settings,
        createdAtMs: nowMs,
        updatedAtMs: nowMs,
      };
      await insertWebhook(sql, webhook, this.#deps.box.seal(secret));
      const subject = `webhook:${webhook.id}`;
      await appendAudit(sql, actor, nowMs, { action: 'webhook.created', subject, after: audited(webhook) });
      return { webhook, secret };
    });
  }

  /** Newest first. */
  list(tenantId: string, limit: number, after?: ListPosition): Promise<WebhookRecord[]> {
    return this.#deps.database.run(({ sql }) => listWebhooks(sql, tenantId, limit, after));
  }

  /** @throws {ProblemError} 404 `webhook_not_found` */
  async get(tenantId: string, id: string): Promise<WebhookRecord> {
    return (await this.#deps.database.run(({ sql }) => findWebhook(sql, tenantId, id))) ?? notFound(id);
  }

  /** Changes what is given. @throws {ProblemError} 400 `validation_failed`, 404 `webhook_not_found` */
  async update(actor: Actor, id: string, changes: Partial<WebhookSettings>): Promise<WebhookRecord> {
    if (changes.url !== undefined) this.#checkUrl(changes.url);
    const { result } = await changeRegistry(this.#deps, actor, undefined, async (sql, nowMs) => {
      await lockTenant(sql, actor.tenantId);
      const before = (await findWebhook(sql, actor.tenantId, id)) ?? notFound(id);
      const after = { ...before, ...changes, updatedAtMs: nowMs };
      await updateWebhook(sql, after);
      await appendAudit(sql, actor, nowMs, {
        action: 'webhook.updated',
        subject: `webhook:${id}`,
        before: audited(before),
        after: audited(after),
      });
      return after;
    });
    return result;
  }

  /** @throws {ProblemError} 404 `webhook_not_found` */
  async delete(actor: Actor, id: string): Promise<void> {
    await changeRegistry(this.#deps, actor, undefined, async (sql, nowMs) => {
      const before = (await deleteWebhook(sql, actor.tenantId, id)) ?? notFound(id);
      const subject = `webhook:${id}`;
      await appendAudit(sql, actor, nowMs, { action: 'webhook.deleted', subject, before: audited(before) });
    });
  }

  /** What was sent and how it went, newest first. @throws {ProblemError} 404 `webhook_not_found` */
  deliveries(
    tenantId: string,
    id: string,
    limit: number,
    beforeId: number | undefined,
  ): Promise<DeliveryRecord[]> {
    return this.#deps.database.run(async ({ sql }) => {
      if ((await findWebhook(sql, tenantId, id)) === undefined) notFound(id);
      return listDeliveries(sql, id, limit, beforeId);
    });
  }

  /** A name is resolved, and where it leads is judged, when something is sent. */
  #checkUrl(url: string): void {
    try {
      this.#guard.checkUrl(url);
    } catch (error) {
      if (!(error instanceof TargetRefusedError)) throw error;
      throw new ProblemError(400, 'validation_failed', 'These fields are not acceptable: url.', {
        fields: [{ field: 'url', message: error.message }],
        cause: error,
      });
    }
  }
}

/** A query may hold a credential of the receiver's. */
function audited(webhook: WebhookRecord): Readonly<Record<string, unknown>> {
  const { origin, pathname } = new URL(webhook.url);
  return { ...webhook, url: origin + pathname };
}

function notFound(id: string): never {
  throw new ProblemError(404, 'webhook_not_found', `There is no webhook ${id}.`);
}
