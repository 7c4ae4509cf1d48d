import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import type { Context, MiddlewareHandler } from 'hono';
import type { Clock } from '#runtime/clock.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { FailedLogins } from '#steering/http/failed-logins.ts';
import { accessTokenHash, type AccessToken } from '#steering/registry/access-token.ts';
import { roleAllows, type Actor, type Role } from '#steering/registry/actor.ts';

export type AccessControlDeps = {
  readonly clock: Clock;
  /** The token from the settings, an admin's; '' when there is none. */
  readonly adminToken: string;
  /** Tokens of the registry, which go on to be valid while the database is away. */
  readonly accessTokens: () => readonly AccessToken[];
  readonly failedLogins: FailedLogins;
  /** Address of a client, as far as it is known. */
  readonly addressOf: (context: Context) => string | undefined;
};

type Holder = { readonly name: string; readonly role: Role };

/** Name under which the token from the settings acts. */
const ADMIN_NAME = 'admin-token';

/** Who may do what at the ops API. */
export class AccessControl {
  readonly #deps: AccessControlDeps;

  constructor(deps: AccessControlDeps) {
    this.#deps = deps;
  }

  /**
   * Lets a request pass whose bearer token has `role` or more. @spec RFC 6750 §3
   *
   * @throws {ProblemError} 401 `unauthorized`, 403 `forbidden`, 429 `too_many_failed_logins`
   */
  require(role: Role): MiddlewareHandler {
    return async (context, next) => {
      this.actor(context, role);
      await next();
    };
  }

  /**
   * Who makes a request that needs `role`. Also answers the request's id, its own or a new one.
   *
   * @throws {ProblemError} 401 `unauthorized`, 403 `forbidden`, 429 `too_many_failed_logins`
   */
  actor(context: Context, role: Role): Actor {
    const brought = context.req.header('x-request-id') ?? '';
    const requestId = /^[\w.-]{1,64}$/.test(brought) ? brought : randomUUID();
    context.header('x-request-id', requestId);
    const presented = /^Bearer +([\x21-\x7e]{1,512}) *$/i.exec(
      context.req.header('authorization') ?? '',
    )?.[1];
    const holder = presented === undefined ? undefined : this.#attempt(context, presented);
    if (holder === undefined)
      throw new ProblemError(401, 'unauthorized', 'Send a token as "Authorization: Bearer {token}".', {
        headers: {
          'www-authenticate': `Bearer realm="steering"${presented === undefined ? '' : ', error="invalid_token"'}`,
        },
      });
    if (!roleAllows(holder.role, role))
      throw new ProblemError(
        403,
        'forbidden',
        `This needs the role ${role}; the token ${holder.name} has the role ${holder.role}.`,
        { headers: { 'www-authenticate': 'Bearer realm="steering", error="insufficient_scope"' } },
      );
    return { name: holder.name, role: holder.role, requestId };
  }

  #attempt(context: Context, presented: string): Holder | undefined {
    const { failedLogins, addressOf } = this.#deps;
    const address = addressOf(context);
    failedLogins.check(address);
    const holder = this.#holderOf(presented);
    if (holder === undefined) failedLogins.failed(address);
    return holder;
  }

  /** Takes the same time whatever is presented: every token is compared, by its hash. */
  #holderOf(presented: string): Holder | undefined {
    const { adminToken, accessTokens, clock } = this.#deps;
    const isAdmin = timingSafeEqual(digest(presented), digest(adminToken)) && adminToken !== '';
    const hash = Buffer.from(accessTokenHash(presented));
    let token: AccessToken | undefined;
    for (const candidate of accessTokens()) {
      const known = Buffer.from(candidate.hash);
      if (known.length === hash.length && timingSafeEqual(known, hash)) token = candidate;
    }
    if (isAdmin) return { name: ADMIN_NAME, role: 'admin' };
    const expiresAtMs = token?.expiresAtMs ?? Infinity;
    return expiresAtMs <= clock.nowMs() ? undefined : token;
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
