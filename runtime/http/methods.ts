import type { Context, Env, Hono } from 'hono';
import { ProblemError } from '#runtime/http/problem.ts';

/**
 * Answers every other method at a path: OPTIONS with the list of methods, anything else with 405. Call it after the
 * path's own handlers. @spec RFC 9110 §15.5.6, §10.2.1
 */
export function allowOnly<Served extends Env>(
  app: Hono<Served>,
  path: string,
  methods: readonly string[],
): void {
  const allow = [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ');
  app.all(path, (context: Context) => {
    if (context.req.method === 'OPTIONS') return new Response(null, { status: 204, headers: { allow } });
    throw new ProblemError(
      405,
      'method_not_allowed',
      `${context.req.method} does nothing here; use ${allow}.`,
      { headers: { allow } },
    );
  });
}
