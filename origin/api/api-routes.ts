import { createHash, randomUUID } from 'node:crypto';
import { Hono, type Context } from 'hono';
import type { z } from 'zod';
import { readJson, validate } from '#runtime/http/json-body.ts';
import { allowOnly } from '#runtime/http/methods.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import { isAllowed, type ApiCaller, type ApiEnv } from '#origin/api/api-caller.ts';
import type { Operation } from '#origin/api/operation.ts';
import type { Idempotency } from '#origin/registry/idempotency-table.ts';
import type { Actor } from '#origin/registry/stream-record.ts';

/** A request to an operation: who asks, for which tenant, and what, checked. */
export type ApiRequest<Query, Body> = {
  readonly actor: Actor;
  readonly tenantId: string;
  readonly query: Query;
  readonly body: Body;
  /** What makes a repeated request the same as the first; only where a client has asked for it. */
  readonly idempotencyOf: (wanted: object) => Idempotency | undefined;
};

type Handler<Query, Body> = (
  context: Context<ApiEnv>,
  request: ApiRequest<Query, Body>,
) => Response | Promise<Response>;

/** Routes that are described by operations: whatever is served here stands in the OpenAPI document, and the other way. */
export class ApiRoutes {
  readonly #app = new Hono<ApiEnv>();
  readonly #operations: Operation[] = [];

  /** Serves an operation. `handle` is called when the caller may, and what was sent is acceptable. */
  serve<Query extends z.ZodType, Body extends z.ZodType>(
    operation: Operation<Query, Body>,
    handle: Handler<z.output<Query>, z.output<Body>>,
  ): this {
    const { method, query, body, scopes } = operation;
    this.#operations.push(operation);
    this.#app.on(method.toUpperCase(), toRoute(operation.path), async (context) => {
      const caller = scopes === 'anybody' ? NOBODY : context.get('caller');
      if (scopes !== 'anybody' && !isAllowed(caller, scopes)) throw forbidden(scopes);
      const { tenantId, name } = caller;
      const options = { optional: operation.isBodyOptional === true };
      return handle(context, {
        actor: { tenantId, name, requestId: requestId(context) },
        tenantId,
        query: (query === undefined ? undefined : validate(query, context.req.query())) as z.output<Query>,
        body: (body === undefined ? undefined : await readJson(context, body, options)) as z.output<Body>,
        idempotencyOf: (wanted) => idempotencyOf(context, wanted),
      });
    });
    return this;
  }

  /** What is served, for the document. */
  get operations(): readonly Operation[] {
    return this.#operations;
  }

  /** The routes. Call it when all operations are there: every other method is answered 405 from then on. */
  done(): Hono<ApiEnv> {
    const byPath = Map.groupBy(this.#operations, ({ path }) => path);
    for (const [path, operations] of byPath) {
      const methods = METHODS.filter((method) => operations.some((served) => served.method === method));
      allowOnly(
        this.#app,
        toRoute(path),
        methods.map((method) => method.toUpperCase()),
      );
    }
    return this.#app;
  }
}

/** In the order in which answers name them. */
const METHODS = ['get', 'post', 'patch', 'delete'] as const;
const NOBODY: ApiCaller = { tenantId: '', name: 'anybody', apiKeyId: undefined, scopes: [] };

/** `/streams/{id}` → `/streams/:id` */
function toRoute(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1');
}

/** Tells a client that its request had been carried out before. */
export function markReplay(context: Context, replayed: boolean): void {
  if (replayed) context.header('idempotency-replayed', 'true');
}

function forbidden(scopes: readonly string[] | 'root'): ProblemError {
  const needed =
    scopes === 'root' ? 'the admin token of the server' : `a key with one of: admin, ${scopes.join(', ')}`;
  return new ProblemError(403, 'scope_missing', `This needs ${needed}.`);
}

/** A request is known by the id that it brings, or that it is given. */
function requestId(context: Context): string {
  const brought = context.req.header('x-request-id') ?? '';
  const id = /^[\w.-]{1,64}$/.test(brought) ? brought : randomUUID();
  context.header('x-request-id', id);
  return id;
}

/** @spec draft-ietf-httpapi-idempotency-key-header-07 §2 */
function idempotencyOf(context: Context, wanted: object): Idempotency | undefined {
  const key = context.req.header('idempotency-key')?.replace(/^"(.*)"$/, '$1');
  if (key === undefined) return undefined;
  if (!/^[\x21-\x7e]{1,255}$/.test(key))
    throw new ProblemError(400, 'validation_failed', 'The Idempotency-Key is not acceptable.', {
      fields: [{ field: 'Idempotency-Key', message: 'expected 1 to 255 printable ASCII characters' }],
    });
  const text = JSON.stringify([context.req.method, context.req.path, wanted]);
  return { key, fingerprint: createHash('sha256').update(text).digest() };
}
