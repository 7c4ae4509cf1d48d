import { z } from 'zod';

/** Most entries of one page of a list. */
export const LIST_LIMIT_MAX = 200;
const LIST_LIMIT_DEFAULT = 50;

/** A page's place in a list: what orders it, and the id of the entry it begins after. */
type Position = { readonly createdAtMs: number; readonly id: string };

const limit = z
  .string()
  .regex(/^\d{1,4}$/, `expected a number from 1 to ${LIST_LIMIT_MAX}`)
  .transform(Number)
  .pipe(z.int().min(1).max(LIST_LIMIT_MAX))
  .default(LIST_LIMIT_DEFAULT);

/** Of lists that are ordered by the time their entries were made. */
export const ListQuery = z.strictObject({ limit, cursor: z.string().transform(parseCursor).optional() });

/** Of lists that are ordered by an id alone. @param pattern of the id */
export const idListQuery = (pattern: RegExp) =>
  z.strictObject({
    limit,
    cursor: z
      .string()
      .transform((cursor, context) => {
        const id = Buffer.from(cursor, 'base64url').toString();
        return pattern.test(id) ? id : refuse(context);
      })
      .optional(),
  });

/** Where the next page begins, as the client sees it. */
export function toCursor(position: Position): string {
  return toIdCursor(`${position.createdAtMs} ${position.id}`);
}

export function toIdCursor(id: string): string {
  return Buffer.from(id).toString('base64url');
}

/** A page of what was found when one more than `limit` was asked for. */
export function pageOf<Entry>(
  found: readonly Entry[],
  limitOfPage: number,
  cursorOf: (last: Entry) => string,
): { readonly page: readonly Entry[]; readonly nextCursor: string | null } {
  const page = found.slice(0, limitOfPage);
  const last = page.at(-1);
  return { page, nextCursor: found.length > limitOfPage && last !== undefined ? cursorOf(last) : null };
}

function parseCursor(cursor: string, context: z.RefinementCtx): Position {
  const match = /^(\d{1,15}) ([A-Za-z0-9_-]{1,64})$/.exec(Buffer.from(cursor, 'base64url').toString());
  if (match?.[1] !== undefined && match[2] !== undefined)
    return { createdAtMs: Number(match[1]), id: match[2] };
  return refuse(context);
}

function refuse(context: z.RefinementCtx): never {
  context.addIssue({ code: 'custom', message: 'is not a nextCursor of an earlier answer' });
  return z.NEVER;
}
