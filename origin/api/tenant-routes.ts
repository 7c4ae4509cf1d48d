import type { z } from 'zod';
import type { ApiKeyAnswer, TenantAnswer } from '#origin/api/answers.ts';
import type { ApiKeyCache } from '#origin/api/api-key-cache.ts';
import { markReplay, type ApiRoutes } from '#origin/api/api-routes.ts';
import { pageOf, toCursor, toIdCursor } from '#origin/api/list-query.ts';
import { API_KEY_OPERATIONS, LIST_AUDIT, TENANT_OPERATIONS } from '#origin/api/tenant-operations.ts';
import type { ApiKeyRegistry } from '#origin/registry/api-key-registry.ts';
import type { ApiKeyRecord } from '#origin/registry/api-keys-table.ts';
import type { TenantRegistry } from '#origin/registry/tenant-registry.ts';
import type { TenantRecord } from '#origin/registry/tenants-table.ts';

export type TenantRoutesDeps = {
  readonly tenants: TenantRegistry;
  readonly apiKeys: ApiKeyRegistry;
  readonly keyCache: Pick<ApiKeyCache, 'forget'>;
};

/** Tenants, keys of the API, and the audit. */
export function serveTenants(routes: ApiRoutes, deps: TenantRoutesDeps): void {
  const { tenants } = deps;
  const { create, list, get, update, delete: remove } = TENANT_OPERATIONS;

  routes.serve(create, async (context, { actor, body, idempotencyOf }) => {
    const { id, name = id, streamsMax, liveMax } = body;
    const settings = { name, streamsMax, liveMax };
    const { result, replayed } = await tenants.create(actor, id, settings, idempotencyOf({ id, settings }));
    context.header('location', `${create.path}/${id}`);
    markReplay(context, replayed);
    return context.json(toTenant(result), 201);
  });
  routes.serve(list, async (context, { query: { limit, cursor = '' } }) => {
    const { page, nextCursor } = pageOf(await tenants.list(limit + 1, cursor), limit, ({ id }) =>
      toIdCursor(id),
    );
    return context.json({ tenants: page.map(toTenant), nextCursor });
  });
  routes.serve(get, async (context) =>
    context.json(toTenant(await tenants.get(context.req.param('id') ?? ''))),
  );
  routes.serve(update, async (context, { actor, body: { name, streamsMax, liveMax } }) => {
    const changes = {
      ...(name === undefined ? {} : { name }),
      ...(streamsMax === undefined ? {} : { streamsMax }),
      ...(liveMax === undefined ? {} : { liveMax }),
    };
    return context.json(toTenant(await tenants.update(actor, context.req.param('id') ?? '', changes)));
  });
  routes.serve(remove, async (context, { actor }) => {
    await tenants.delete(actor, context.req.param('id') ?? '');
    return context.body(null, 204);
  });
  serveApiKeys(routes, deps);

  routes.serve(LIST_AUDIT, async (context, { tenantId, query: { limit, cursor, stream } }) => {
    const beforeId = cursor === undefined ? undefined : Number(cursor);
    const found = await tenants.audit(tenantId, limit + 1, { beforeId, streamId: stream });
    const { page, nextCursor } = pageOf(found, limit, ({ id }) => toIdCursor(String(id)));
    const entries = page.map(({ id, atMs, ...entry }) => ({ id: String(id), at: toIso(atMs), ...entry }));
    return context.json({ entries, nextCursor });
  });
}

function serveApiKeys(routes: ApiRoutes, { apiKeys, keyCache }: TenantRoutesDeps): void {
  const { create, list, get, delete: remove } = API_KEY_OPERATIONS;
  routes.serve(create, async (context, { actor, body, idempotencyOf }) => {
    const { name, scopes, expiresIn } = body;
    const wanted = { name, scopes, ...(expiresIn === undefined ? {} : { expiresInS: expiresIn }) };
    const { result, replayed } = await apiKeys.create(actor, wanted, idempotencyOf(wanted));
    context.header('location', `${create.path}/${result.apiKey.id}`);
    markReplay(context, replayed);
    return context.json({ ...toApiKey(result.apiKey), key: result.key }, 201);
  });
  routes.serve(list, async (context, { tenantId, query: { limit, cursor } }) => {
    const { page, nextCursor } = pageOf(await apiKeys.list(tenantId, limit + 1, cursor), limit, toCursor);
    return context.json({ apiKeys: page.map(toApiKey), nextCursor });
  });
  routes.serve(get, async (context, { tenantId }) =>
    context.json(toApiKey(await apiKeys.get(tenantId, context.req.param('id') ?? ''))),
  );
  routes.serve(remove, async (context, { actor }) => {
    const id = context.req.param('id') ?? '';
    await apiKeys.delete(actor, id);
    keyCache.forget(id);
    return context.body(null, 204);
  });
}

function toTenant({ createdAtMs, updatedAtMs, ...tenant }: TenantRecord): z.output<typeof TenantAnswer> {
  return { ...tenant, createdAt: toIso(createdAtMs), updatedAt: toIso(updatedAtMs) };
}

function toApiKey(key: ApiKeyRecord): z.output<typeof ApiKeyAnswer> {
  const { id, name, scopes, createdAtMs, notAfterMs, lastUsedAtMs } = key;
  return {
    id,
    name,
    scopes,
    createdAt: toIso(createdAtMs),
    expiresAt: notAfterMs === null ? null : toIso(notAfterMs),
    lastUsedAt: lastUsedAtMs === null ? null : toIso(lastUsedAtMs),
  };
}

function toIso(timeMs: number): string {
  return new Date(timeMs).toISOString();
}
