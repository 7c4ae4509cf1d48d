import { z } from 'zod';
import { STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import { idListQuery } from '#origin/api/list-query.ts';
import { Name } from '#origin/api/stream-requests.ts';
import { API_SCOPES } from '#origin/registry/api-keys-table.ts';
import { TENANT_ID_PATTERN } from '#origin/registry/tenants-table.ts';

const LIMIT_MAX = 100_000;
const KEY_LIFETIME_MAX_S = 5 * 366 * 24 * 60 * 60;

const settings = {
  name: Name,
  /** Streams that it may have; null for as many as the server allows. */
  streamsMax: z.int().min(0).max(LIMIT_MAX).nullable(),
  /** Streams that it may publish at once; null for no limit. */
  liveMax: z.int().min(0).max(LIMIT_MAX).nullable(),
};

export const CreateTenant = z.strictObject({
  id: z
    .string()
    .regex(TENANT_ID_PATTERN, 'expected 1 to 63 small letters, digits and hyphens, no hyphen first'),
  name: settings.name.optional(),
  streamsMax: settings.streamsMax.default(null),
  liveMax: settings.liveMax.default(null),
});
export const UpdateTenant = z
  .strictObject(settings)
  .partial()
  .refine((changes) => Object.keys(changes).length > 0, 'there is nothing to change');
export const TenantListQuery = idListQuery(TENANT_ID_PATTERN);

export const CreateApiKey = z.strictObject({
  name: Name,
  scopes: z
    .array(z.enum(API_SCOPES))
    .min(1)
    .max(API_SCOPES.length)
    .refine((scopes) => new Set(scopes).size === scopes.length, 'holds a scope twice'),
  /** Seconds; without it the key stays until it is deleted. */
  expiresIn: z.int().min(1).max(KEY_LIFETIME_MAX_S).optional(),
});

const { shape } = idListQuery(/^\d{1,15}$/);
export const AuditQuery = z.strictObject({
  ...shape,
  stream: z.string().regex(STREAM_ID_PATTERN).optional(),
});
