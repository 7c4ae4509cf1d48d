import type { Context } from 'hono';
import type { z } from 'zod';
import { ProblemError, type FieldProblem } from '#runtime/http/problem.ts';

/** Most bytes of a JSON request body. */
export const JSON_BODY_BYTES_MAX = 64 * 1024;
/** Most fields an answer complains about. */
const FIELD_PROBLEMS_MAX = 50;
const MEDIA_TYPES = new Set(['application/json', 'application/merge-patch+json']);

export type JsonBodyOptions = {
  /** A request without a body counts as `{}`. */
  readonly optional?: boolean;
};

/**
 * Reads and checks a JSON request body.
 *
 * @throws {ProblemError} 413 `body_too_large`, 415 `content_type_unsupported`, 400 `json_invalid`, 400
 * `validation_failed` with every field that is wrong
 */
export async function readJson<Schema extends z.ZodType>(
  context: Context,
  schema: Schema,
  options: JsonBodyOptions = {},
): Promise<z.output<Schema>> {
  const bytes = await readBody(context);
  if (bytes.length === 0 && options.optional === true) return validate(schema, {});
  refuseOtherTypes(context);
  return validate(schema, parse(bytes));
}

/**
 * Checks a value that came from a client.
 *
 * @throws {ProblemError} 400 `validation_failed` with every field that is wrong
 */
export function validate<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const fields = result.error.issues.flatMap(toFieldProblems).slice(0, FIELD_PROBLEMS_MAX);
  const names = [...new Set(fields.map(({ field }) => field))].join(', ');
  throw new ProblemError(400, 'validation_failed', `These fields are not acceptable: ${names}.`, { fields });
}

async function readBody(context: Context): Promise<Uint8Array> {
  const tooLarge = new ProblemError(
    413,
    'body_too_large',
    `The body may have ${JSON_BODY_BYTES_MAX} bytes at most.`,
  );
  if (Number(context.req.header('content-length') ?? 0) > JSON_BODY_BYTES_MAX) throw tooLarge;
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of context.req.raw.body ?? []) {
    length += chunk.length;
    if (length > JSON_BODY_BYTES_MAX) throw tooLarge;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function refuseOtherTypes(context: Context): void {
  const [type = '', ...parameters] = (context.req.header('content-type') ?? '').toLowerCase().split(';');
  const charset = parameters.map((parameter) => parameter.trim()).find((text) => text.startsWith('charset='));
  const encoding = context.req.header('content-encoding') ?? 'identity';
  if (
    !MEDIA_TYPES.has(type.trim()) ||
    (charset !== undefined && !/^charset="?utf-8"?$/.test(charset)) ||
    encoding !== 'identity'
  )
    throw new ProblemError(
      415,
      'content_type_unsupported',
      'Send the body as application/json in UTF-8, not compressed.',
      { headers: { accept: 'application/json' } },
    );
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new ProblemError(400, 'json_invalid', 'The body is not valid JSON.', { cause: error });
  }
}

function toFieldProblems(issue: z.core.$ZodIssue): FieldProblem[] {
  const path = issue.path.map(String);
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({
      field: [...path, key].join('.').slice(0, 100),
      message: 'is not a field of this request',
    }));
  return [{ field: path.join('.') || 'body', message: issue.message }];
}
