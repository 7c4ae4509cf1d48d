import { createMiddleware } from 'hono/factory';
import type { MiddlewareHandler } from 'hono';
import { bearerOf, matchesSecret } from '#runtime/http/bearer-auth.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import { TENANT_HEADER, type ApiCaller, type ApiEnv } from '#origin/api/api-caller.ts';
import type { ApiKeyCache } from '#origin/api/api-key-cache.ts';
import type { RequestRates } from '#origin/api/request-rates.ts';
import { DEFAULT_TENANT_ID, TENANT_ID_PATTERN } from '#origin/registry/tenants-table.ts';

export type ApiAccessDeps = {
  readonly adminToken: string;
  readonly keys: Pick<ApiKeyCache, 'recognise'>;
  readonly rates: RequestRates;
};

/**
 * Finds out who asks: whoever holds ADMIN_TOKEN, for the tenant of the header `Livehls-Tenant`, or a key of the API, for
 * its own tenant. OPTIONS passes without, as it tells nothing but the methods.
 *
 * @throws {ProblemError} 401 `unauthorized`, 403 `tenant_forbidden`, 429 `rate_limited`
 */
export function authenticate(deps: ApiAccessDeps): MiddlewareHandler<ApiEnv> {
  const isRoot = matchesSecret([deps.adminToken]);
  const identify = async (presented: string, tenant: string | undefined): Promise<ApiCaller> => {
    if (isRoot(presented)) {
      const tenantId = tenant ?? DEFAULT_TENANT_ID;
      return { tenantId, name: 'admin-token', apiKeyId: undefined, scopes: 'root' };
    }
    const key = await deps.keys.recognise(presented);
    if (key === undefined) throw unauthorized(', error="invalid_token"');
    deps.rates.take(key.id);
    if (tenant !== undefined && tenant !== key.tenantId)
      throw new ProblemError(403, 'tenant_forbidden', 'This key belongs to another tenant.');
    return { tenantId: key.tenantId, name: `api-key:${key.id}`, apiKeyId: key.id, scopes: key.scopes };
  };
  return createMiddleware<ApiEnv>(async (context, next) => {
    if (context.req.method === 'OPTIONS') return next();
    const presented = bearerOf(context.req.header('authorization'));
    if (presented === undefined) throw unauthorized('');
    const caller = await identify(presented, context.req.header(TENANT_HEADER));
    if (!TENANT_ID_PATTERN.test(caller.tenantId))
      throw new ProblemError(404, 'tenant_not_found', 'There is no such tenant.');
    context.set('caller', caller);
    return next();
  });
}

/** @spec RFC 6750 §3 */
function unauthorized(error: string): ProblemError {
  return new ProblemError(401, 'unauthorized', 'Send the token as "Authorization: Bearer {token}".', {
    headers: { 'www-authenticate': `Bearer realm="livehls"${error}` },
  });
}
