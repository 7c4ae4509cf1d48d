import { createHash, timingSafeEqual } from 'node:crypto';
import type { MiddlewareHandler } from 'hono';
import { ProblemError } from '#runtime/http/problem.ts';

/**
 * Lets a request pass that carries `Authorization: Bearer {token}`. The comparison takes the same time whatever is
 * presented. OPTIONS passes without: browsers send no token with a preflight, and it tells nothing but the methods.
 * @spec RFC 6750 §2.1, §3; Fetch §4.8
 *
 * @throws {ProblemError} 401 `unauthorized` with WWW-Authenticate
 */
export function requireBearer(token: string, realm: string): MiddlewareHandler {
  const expected = digest(token);
  return async (context, next) => {
    if (context.req.method === 'OPTIONS') return next();
    const presented = /^Bearer +([\x21-\x7e]+) *$/i.exec(context.req.header('authorization') ?? '')?.[1];
    if (presented === undefined || !timingSafeEqual(digest(presented), expected))
      throw new ProblemError(401, 'unauthorized', 'Send the token as "Authorization: Bearer {token}".', {
        headers: {
          'www-authenticate': `Bearer realm="${realm}"${presented === undefined ? '' : ', error="invalid_token"'}`,
        },
      });
    await next();
  };
}

/** Equal lengths, so that the comparison tells nothing, the token's length included. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
