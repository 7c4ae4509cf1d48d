import { z } from 'zod';
import { ProblemAnswer } from '#origin/api/answers.ts';
import { TENANT_HEADER } from '#origin/api/api-caller.ts';
import type { Operation } from '#origin/api/operation.ts';
import { WEBHOOK_EVENTS, webhookPayload } from '#origin/webhooks/webhook-event.ts';

type Json = Readonly<Record<string, unknown>>;

/** Codes that an operation may answer whatever it is about. */
const USUAL: Readonly<Record<number, readonly string[]>> = {
  400: ['validation_failed'],
  401: ['unauthorized'],
  403: ['scope_missing', 'tenant_forbidden'],
  429: ['rate_limited'],
  503: ['database_unavailable', 'overloaded'],
};
const WITH_BODY: Readonly<Record<number, readonly string[]>> = {
  400: ['json_invalid'],
  413: ['body_too_large'],
  415: ['content_type_unsupported'],
};

/**
 * The OpenAPI document of the operations that are served.
 *
 * @spec OpenAPI 3.1.1
 */
export function toOpenApi(operations: readonly Operation[], serverUrl: string): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const operation of operations)
    (paths[operation.path] ??= {})[operation.method] = describeOperation(operation);
  return {
    openapi: '3.1.1',
    info: {
      title: 'livehls',
      version: '1',
      description:
        'Streams, their keys, recordings, tenants and webhooks. Errors are problem+json with a stable `code`.',
    },
    servers: [{ url: serverUrl }],
    paths,
    webhooks: describeWebhooks(),
    components: {
      schemas: { Problem: toSchema(ProblemAnswer, 'output') },
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'A key of the API, or ADMIN_TOKEN' },
      },
    },
    security: [{ token: [] }],
  };
}

function describeOperation(operation: Operation): Json {
  const { id, tag, summary, scopes, query, body, answer, status } = operation;
  const isOpen = scopes === 'anybody';
  const content = answer && { content: { 'application/json': { schema: toSchema(answer, 'output') } } };
  return {
    operationId: id,
    tags: [tag],
    summary,
    description: describeScopes(scopes),
    ...(isOpen ? { security: [] } : {}),
    parameters: [
      ...pathParameters(operation.path),
      ...(query === undefined ? [] : queryParameters(toSchema(query, 'input'))),
      ...(isOpen ? [] : [header(TENANT_HEADER, 'With ADMIN_TOKEN: the tenant to act for')]),
      ...(operation.isIdempotent === true
        ? [header('Idempotency-Key', 'For 24 hours the same request gets the same answer')]
        : []),
    ],
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: operation.isBodyOptional !== true,
            content: { 'application/json': { schema: toSchema(body, 'input') } },
          },
        }),
    responses: { [status]: { description: summary, ...content }, ...describeProblems(operation) },
  };
}

/** @spec OpenAPI 3.1.1 §4.8.1, webhooks */
function describeWebhooks(): Json {
  const described = WEBHOOK_EVENTS.map((type) => [
    type,
    {
      post: {
        operationId: type,
        tags: ['Webhooks'],
        description: 'Signed as in “Standard Webhooks”; anything but 2xx within ten seconds is sent again.',
        parameters: ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) => ({
          name,
          in: 'header',
          required: true,
          schema: { type: 'string' },
        })),
        requestBody: {
          required: true,
          content: { 'application/json': { schema: toSchema(webhookPayload(type), 'output') } },
        },
        responses: { 200: { description: 'Taken' } },
      },
    },
  ]);
  return Object.fromEntries(described) as Json;
}

function describeScopes(scopes: Operation['scopes']): string {
  if (scopes === 'anybody') return 'Needs no token.';
  if (scopes === 'root') return 'Needs ADMIN_TOKEN.';
  return `Needs one of the scopes: ${[...new Set(['admin', ...scopes])].join(', ')}.`;
}

function describeProblems(operation: Operation): Json {
  const codes = new Map<string, Set<string>>();
  const add = (more: Readonly<Record<string, readonly string[]>>): void => {
    for (const [status, names] of Object.entries(more))
      codes.set(status, new Set([...(codes.get(status) ?? []), ...names]));
  };
  if (operation.scopes === 'anybody') add({ 503: ['overloaded'] });
  else add(USUAL);
  if (operation.body !== undefined) add(WITH_BODY);
  if (operation.isIdempotent === true) add({ 422: ['idempotency_key_reused'] });
  add(operation.problems ?? {});
  const described = [...codes].map(([status, names]) => [
    status,
    {
      description: [...names].join(', '),
      content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      ...(status === '429' || status === '503'
        ? { headers: { 'Retry-After': { schema: { type: 'integer' }, description: 'Seconds' } } }
        : {}),
    },
  ]);
  return Object.fromEntries(described) as Json;
}

function pathParameters(path: string): Json[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
}

function queryParameters(schema: Json): Json[] {
  const properties = (schema['properties'] ?? {}) as Readonly<Record<string, Json>>;
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: 'query',
    required: false,
    schema: property,
  }));
}

function header(name: string, description: string): Json {
  return { name, in: 'header', required: false, description, schema: { type: 'string' } };
}

/** What JSON Schema cannot say (a refinement, a transformation) is left out: the document never forbids what we take. */
function toSchema(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...described } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return described;
}
