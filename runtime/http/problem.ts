import type { Context } from 'hono';

/** One field of a request that was not acceptable. */
export type FieldProblem = { readonly field: string; readonly message: string };

/**
 * An expected failure of a request. `code` is stable and part of the API; `message` is for a person and says what to do
 * next. Answered as `application/problem+json` (@spec RFC 9457) by {@link problemResponse}.
 */
export class ProblemError extends Error {
  override readonly name: string = 'ProblemError';
  readonly status: number;
  readonly code: string;
  readonly fields: readonly FieldProblem[];
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: string,
    message: string,
    options: {
      fields?: readonly FieldProblem[];
      headers?: Readonly<Record<string, string>>;
      cause?: unknown;
    } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.status = status;
    this.code = code;
    this.fields = options.fields ?? [];
    this.headers = options.headers ?? {};
  }
}

/** A {@link ProblemError} as it is sent. Errors are never cached unless the error says so. */
export function problemParts(error: ProblemError): {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
} {
  const body = {
    type: `urn:problem:${error.code}`,
    status: error.status,
    code: error.code,
    detail: error.message,
    ...(error.fields.length > 0 ? { errors: error.fields } : {}),
  };
  return {
    body: JSON.stringify(body),
    headers: {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      'access-control-allow-origin': '*',
      ...error.headers,
    },
  };
}

/** The body and headers of a {@link ProblemError} as a Response. */
export function problemResponse(error: ProblemError): Response {
  const { headers, body } = problemParts(error);
  return new Response(body, { status: error.status, headers });
}

/**
 * The one `onError` of a service: expected failures keep their status and code, anything else is logged by `report` and
 * answered as an opaque 500, so that no message from inside leaks.
 */
export function onError(report: (error: unknown, context: Context) => void) {
  return (error: unknown, context: Context): Response => {
    if (error instanceof ProblemError) return problemResponse(error);
    report(error, context);
    return problemResponse(
      new ProblemError(500, 'internal_error', 'Something failed on our side; try again.'),
    );
  };
}

/** The one `notFound` of a service. */
export function notFound(context: Context): Response {
  return problemResponse(
    new ProblemError(
      404,
      'not_found',
      `There is nothing at ${context.req.path.slice(0, 200)} for ${context.req.method}.`,
    ),
  );
}
