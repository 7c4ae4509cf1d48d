import { z } from 'zod';
import type { Context } from 'hono';
import { ProblemError } from '#runtime/http/problem.ts';
import { validate } from '#runtime/http/json-body.ts';
import { PATHWAY_ID_PATTERN, PathwayId } from '#protocol/steering/pathway-id.ts';
import { ROLES } from '#steering/registry/actor.ts';
import { cdnNotFound } from '#steering/registry/cdn-changes.ts';
import { CdnConfig, CdnPatch } from '#steering/registry/cdn.ts';
import { requestFingerprint, type Idempotency } from '#steering/registry/idempotency.ts';
import { PLAN_AHEAD_MAX_S } from '#steering/registry/planned-change.ts';

const REASON_CHARACTERS_MAX = 500;
/** Shortest and longest time after which a change may take itself back, seconds. */
const REVERT_AFTER_MIN_S = 10;
const REVERT_AFTER_MAX_S = 30 * 24 * 3_600;

/** Why something is done. A change without a reason is one that nobody can explain the day after. */
const Reason = z
  .string('say in a sentence why')
  .trim()
  .min(1, 'say in a sentence why')
  .max(REASON_CHARACTERS_MAX)
  .regex(/^\P{Cc}*$/u, 'control characters are not allowed')
  .refine((reason) => reason.isWellFormed(), 'is not well-formed Unicode');

export const CreateCdn = CdnConfig.extend({ name: PathwayId, reason: Reason });

export const UpdateCdn = CdnPatch.extend({
  reason: Reason,
  /** Seconds after which the former values come back. */
  revertAfter: z.int().min(REVERT_AFTER_MIN_S).max(REVERT_AFTER_MAX_S).optional(),
  /** When the change is to be made; ISO 8601 with a time zone. */
  schedule: z.iso
    .datetime({ offset: true })
    .transform((text) => new Date(text))
    .optional(),
}).refine(
  (body) => Object.keys(CdnPatch.shape).some((field) => body[field as keyof CdnPatch] !== undefined),
  'there is nothing to change',
);

/** Of an update those fields that are settings of the CDN. */
export function patchOf(update: z.output<typeof UpdateCdn>): CdnPatch {
  return CdnPatch.parse(
    Object.fromEntries(Object.entries(update).filter(([field]) => field in CdnPatch.shape)),
  );
}

const dryRun = z
  .enum(['true', 'false'], 'expected true or false')
  .transform((value) => value === 'true')
  .default(false);

export const ChangeQuery = z.strictObject({ dryRun });
export const DeleteQuery = z.strictObject({ dryRun, reason: Reason });
export const ReasonQuery = z.strictObject({ reason: Reason });

export const CreateToken = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/, 'expected letters, digits and . _ @ -'),
  role: z.enum(ROLES),
  reason: Reason,
  /** Seconds that the token is valid; without it until it is revoked. */
  expiresIn: z.int().min(60).max(PLAN_AHEAD_MAX_S).optional(),
});

const AUDIT_PAGE_MAX = 200;
const AUDIT_PAGE_DEFAULT = 50;
export const AuditQuery = z.strictObject({
  limit: z
    .string()
    .regex(/^\d{1,4}$/, `expected a number from 1 to ${AUDIT_PAGE_MAX}`)
    .transform(Number)
    .pipe(z.int().min(1).max(AUDIT_PAGE_MAX))
    .default(AUDIT_PAGE_DEFAULT),
  /** `nextCursor` of an earlier answer. */
  cursor: z
    .string()
    .regex(/^\d{1,15}$/, 'is not a nextCursor of an earlier answer')
    .transform(Number)
    .default(Number.MAX_SAFE_INTEGER),
  cdn: z.string().regex(PATHWAY_ID_PATTERN).optional(),
});

/** When a change is to be made, refusing times that have passed or that nobody can oversee. */
export function dueAtOf(schedule: Date | undefined, nowMs: number): Date | null {
  if (schedule === undefined) return null;
  const aheadS = (schedule.getTime() - nowMs) / 1_000;
  if (aheadS > 0 && aheadS <= PLAN_AHEAD_MAX_S) return schedule;
  throw new ProblemError(400, 'validation_failed', 'These fields are not acceptable: schedule.', {
    fields: [{ field: 'schedule', message: 'expected a time from now to a year ahead' }],
  });
}

/** The name in the path. @throws {ProblemError} 404 `cdn_not_found` for one that cannot be */
export function cdnNameOf(context: Context): string {
  const name = context.req.param('name') ?? '';
  if (!PATHWAY_ID_PATTERN.test(name)) throw cdnNotFound(name);
  return name;
}

/**
 * The generation that the caller has seen, from If-Match. @spec RFC 9110 §13.1.1, RFC 6585 §3
 *
 * @throws {ProblemError} 428 `precondition_required` without one (`*` would overwrite whatever is there), 412
 *   `generation_mismatch` for one that cannot be
 */
export function expectedGeneration(context: Context): number {
  const header = context.req.header('if-match')?.trim();
  if (header === undefined || header === '' || header === '*')
    throw new ProblemError(
      428,
      'precondition_required',
      'Send the ETag of the CDN as you have seen it as If-Match, so that nobody else is overwritten.',
    );
  const generation = /^"(\d{1,15})"$/.exec(header)?.[1];
  if (generation === undefined)
    throw new ProblemError(412, 'generation_mismatch', 'If-Match is not an ETag of a CDN; look at it again.');
  return Number(generation);
}

/** @spec draft-ietf-httpapi-idempotency-key-header-07 §2 */
export function idempotencyOf(context: Context, request: unknown): Idempotency | undefined {
  const key = context.req.header('idempotency-key')?.replace(/^"(.*)"$/, '$1');
  if (key === undefined) return undefined;
  if (!/^[\x21-\x7e]{1,255}$/.test(key))
    throw new ProblemError(400, 'validation_failed', 'The Idempotency-Key is not acceptable.', {
      fields: [{ field: 'Idempotency-Key', message: 'expected 1 to 255 printable ASCII characters' }],
    });
  const { method, path } = context.req;
  return { key, fingerprint: requestFingerprint(method, path, request) };
}

/** The query of a request, refusing what it does not know. */
export function queryOf<Schema extends z.ZodType>(context: Context, schema: Schema): z.output<Schema> {
  return validate(schema, context.req.query());
}
