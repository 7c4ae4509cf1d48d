import type { z } from 'zod';
import type { ApiScope } from '#origin/registry/api-keys-table.ts';

/** A part of the API as it is both served and described; what it says here is what clients may rely on. */
export type Operation<Query extends z.ZodType = z.ZodType, Body extends z.ZodType = z.ZodType> = {
  /** Names it in the OpenAPI document. */
  readonly id: string;
  readonly method: 'get' | 'post' | 'patch' | 'delete';
  /** With parameters in braces. */
  readonly path: `/api/v1/${string}`;
  readonly tag: string;
  readonly summary: string;
  /** One of these is needed; `root` is ADMIN_TOKEN alone, `anybody` needs no token at all. */
  readonly scopes: readonly ApiScope[] | 'root' | 'anybody';
  readonly query?: Query;
  readonly body?: Body;
  /** A request without a body counts as `{}`. */
  readonly isBodyOptional?: boolean;
  /** Takes an Idempotency-Key. */
  readonly isIdempotent?: boolean;
  readonly status: 200 | 201 | 204;
  /** What is answered; none for 204. */
  readonly answer?: z.ZodType;
  /** What else it answers, beside what every operation may (400, 401, 403, 429, 503): codes by status. */
  readonly problems?: Readonly<Record<number, readonly string[]>>;
};

/** Keeps the types of an operation's schemas. */
export function operation<Query extends z.ZodType, Body extends z.ZodType>(
  described: Operation<Query, Body>,
): Operation<Query, Body> {
  return described;
}
