import type { Env } from 'hono';
import type { ApiScope } from '#origin/registry/api-keys-table.ts';

/** Who asks, as the bearer token of a request tells. */
export type ApiCaller = {
  readonly tenantId: string;
  /** For the audit; never a credential. */
  readonly name: string;
  /** Undefined for the holder of ADMIN_TOKEN. */
  readonly apiKeyId: string | undefined;
  /** `root`: whoever holds ADMIN_TOKEN may everything, for every tenant. */
  readonly scopes: readonly ApiScope[] | 'root';
};

/** What handlers of the API find in their context. */
export type ApiEnv = Env & { Variables: { caller: ApiCaller } };

/** Names the tenant that the holder of ADMIN_TOKEN acts for; without it the default one. */
export const TENANT_HEADER = 'livehls-tenant';

/** Whether the caller may do what asks for one of `needed`; `root` is ADMIN_TOKEN alone. */
export function isAllowed(caller: Pick<ApiCaller, 'scopes'>, needed: readonly ApiScope[] | 'root'): boolean {
  const { scopes } = caller;
  if (scopes === 'root') return true;
  if (needed === 'root') return false;
  if (scopes.includes('admin')) return true;
  return needed.some(
    (scope) => scopes.includes(scope) || (scope === 'streams:read' && scopes.includes('streams:write')),
  );
}
