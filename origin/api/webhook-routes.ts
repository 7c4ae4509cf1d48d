import type { z } from 'zod';
import type { WebhookAnswer } from '#origin/api/answers.ts';
import { markReplay, type ApiRoutes } from '#origin/api/api-routes.ts';
import { pageOf, toCursor, toIdCursor } from '#origin/api/list-query.ts';
import { WEBHOOK_OPERATIONS } from '#origin/api/webhook-operations.ts';
import type { WebhookRegistry } from '#origin/webhooks/webhook-registry.ts';
import type { WebhookRecord } from '#origin/webhooks/webhooks-table.ts';

export type WebhookRoutesDeps = { readonly webhooks: WebhookRegistry };

/** Webhooks and what was sent to them. */
export function serveWebhooks(routes: ApiRoutes, { webhooks }: WebhookRoutesDeps): void {
  const { create, list, get, update, delete: remove, deliveries } = WEBHOOK_OPERATIONS;

  routes.serve(create, async (context, { actor, body, idempotencyOf }) => {
    const { result, replayed } = await webhooks.create(actor, body, idempotencyOf(body));
    context.header('location', `${create.path}/${result.webhook.id}`);
    markReplay(context, replayed);
    return context.json({ ...toWebhook(result.webhook), secret: result.secret }, 201);
  });
  routes.serve(list, async (context, { tenantId, query: { limit, cursor } }) => {
    const { page, nextCursor } = pageOf(await webhooks.list(tenantId, limit + 1, cursor), limit, toCursor);
    return context.json({ webhooks: page.map(toWebhook), nextCursor });
  });
  routes.serve(get, async (context, { tenantId }) =>
    context.json(toWebhook(await webhooks.get(tenantId, context.req.param('id') ?? ''))),
  );
  routes.serve(update, async (context, { actor, body: { url, events, enabled } }) => {
    const changes = {
      ...(url === undefined ? {} : { url }),
      ...(events === undefined ? {} : { events }),
      ...(enabled === undefined ? {} : { enabled }),
    };
    return context.json(toWebhook(await webhooks.update(actor, context.req.param('id') ?? '', changes)));
  });
  routes.serve(remove, async (context, { actor }) => {
    await webhooks.delete(actor, context.req.param('id') ?? '');
    return context.body(null, 204);
  });
  routes.serve(deliveries, async (context, { tenantId, query: { limit, cursor } }) => {
    const beforeId = cursor === undefined ? undefined : Number(cursor);
    const id = context.req.param('id') ?? '';
    const found = await webhooks.deliveries(tenantId, id, limit + 1, beforeId);
    const { page, nextCursor } = pageOf(found, limit, (delivery) => toIdCursor(String(delivery.id)));
    const shown = page.map(({ id: deliveryId, eventAtMs, nextAtMs, lastAtMs, ...delivery }) => ({
      id: String(deliveryId),
      ...delivery,
      eventAt: toIso(eventAtMs),
      nextAt: nextAtMs === null ? null : toIso(nextAtMs),
      lastAt: lastAtMs === null ? null : toIso(lastAtMs),
    }));
    return context.json({ deliveries: shown, nextCursor });
  });
}

function toWebhook(webhook: WebhookRecord): z.output<typeof WebhookAnswer> {
  const { id, url, events, enabled, createdAtMs, updatedAtMs } = webhook;
  return { id, url, events, enabled, createdAt: toIso(createdAtMs), updatedAt: toIso(updatedAtMs) };
}

function toIso(timeMs: number): string {
  return new Date(timeMs).toISOString();
}
