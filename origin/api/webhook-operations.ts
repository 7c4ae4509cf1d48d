import { z } from 'zod';
import { WebhookAnswer, WebhookDeliveryListAnswer, WebhookListAnswer } from '#origin/api/answers.ts';
import { idListQuery, ListQuery } from '#origin/api/list-query.ts';
import { operation } from '#origin/api/operation.ts';
import { WEBHOOK_EVENTS } from '#origin/webhooks/webhook-event.ts';

const URL_CHARACTERS_MAX = 2_048;
const settings = {
  url: z.url({ protocol: /^https?$/ }).max(URL_CHARACTERS_MAX),
  events: z
    .array(z.enum(WEBHOOK_EVENTS))
    .min(1)
    .max(WEBHOOK_EVENTS.length)
    .refine((events) => new Set(events).size === events.length, 'holds an event twice'),
  enabled: z.boolean(),
};
const CreateWebhook = z.strictObject({
  url: settings.url,
  events: settings.events.default([...WEBHOOK_EVENTS]),
  enabled: settings.enabled.default(true),
});
const UpdateWebhook = z
  .strictObject(settings)
  .partial()
  .refine((changes) => Object.keys(changes).length > 0, 'there is nothing to change');

const WEBHOOK = '/api/v1/webhooks/{id}';
const tag = 'Webhooks';
const ADMIN = ['admin'] as const;
const notFound = { 404: ['webhook_not_found'] } as const;

export const WEBHOOK_OPERATIONS = {
  create: operation({
    id: 'createWebhook',
    method: 'post',
    path: '/api/v1/webhooks',
    tag,
    summary: 'Makes a webhook and shows the secret that its requests are signed with, this once',
    scopes: ADMIN,
    body: CreateWebhook,
    isIdempotent: true,
    status: 201,
    answer: WebhookAnswer.extend({ secret: z.string().describe('Shown this once') }),
    problems: { 404: ['tenant_not_found'], 409: ['webhooks_exhausted'] },
  }),
  list: operation({
    id: 'listWebhooks',
    method: 'get',
    path: '/api/v1/webhooks',
    tag,
    summary: 'The webhooks, newest first',
    scopes: ['ops'],
    query: ListQuery,
    status: 200,
    answer: WebhookListAnswer,
  }),
  get: operation({
    id: 'getWebhook',
    method: 'get',
    path: WEBHOOK,
    tag,
    summary: 'A webhook',
    scopes: ['ops'],
    status: 200,
    answer: WebhookAnswer,
    problems: notFound,
  }),
  update: operation({
    id: 'updateWebhook',
    method: 'patch',
    path: WEBHOOK,
    tag,
    summary: 'Changes what is given; what waits for a disabled webhook is sent when it is enabled again',
    scopes: ADMIN,
    body: UpdateWebhook,
    status: 200,
    answer: WebhookAnswer,
    problems: notFound,
  }),
  delete: operation({
    id: 'deleteWebhook',
    method: 'delete',
    path: WEBHOOK,
    tag,
    summary: 'Deletes a webhook, with what waits for it',
    scopes: ADMIN,
    status: 204,
    problems: notFound,
  }),
  deliveries: operation({
    id: 'listWebhookDeliveries',
    method: 'get',
    path: `${WEBHOOK}/deliveries`,
    tag,
    summary: 'What was sent in the last seven days and how it went, newest first',
    scopes: ['ops'],
    query: idListQuery(/^\d{1,15}$/),
    status: 200,
    answer: WebhookDeliveryListAnswer,
    problems: notFound,
  }),
};
