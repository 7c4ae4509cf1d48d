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
  const isExpected = matchesSecret([token]);
  return async (context, next) => {
    if (context.req.method === 'OPTIONS') return next();
    const presented = bearerOf(context.req.header('authorization'));
    if (presented === undefined || !isExpected(presented))
      throw new ProblemError(401, 'unauthorized', 'Send the token as "Authorization: Bearer {token}".', {
        headers: {
          'www-authenticate': `Bearer realm="${realm}"${presented === undefined ? '' : ', error="invalid_token"'}`,
        },
      });
    await next();
  };
}

/** The token of an Authorization header; undefined when it holds none. @spec RFC 6750 §2.1 */
export function bearerOf(authorization: string | undefined): string | undefined {
  return /^Bearer +([\x21-\x7e]+) *$/i.exec(authorization ?? '')?.[1];
}

/** Whether a text is one of the secrets; takes the same time whatever is presented. */
export function matchesSecret(secrets: readonly string[]): (presented: string) => boolean {
  const expected = secrets.map(digest);
  return (presented) => {
    const actual = digest(presented);
    return expected.filter((candidate) => timingSafeEqual(candidate, actual)).length > 0;
  };
}

/** Equal lengths, so that the comparison tells nothing, the token's length included. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
