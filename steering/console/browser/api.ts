import type {
  AuditPage,
  CdnList,
  CdnView,
  ChangeRequest,
  HealthReport,
  Identity,
  PlannedChange,
  Simulation,
  Snapshot,
  Status,
} from './api-types.ts';

/** An answer that was not what was asked for; `code` is the API's. Status 0: there was no answer. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Longest wait for an answer. */
const DEADLINE_MS = 10_000;

/** The ops API, as one who holds a token sees it. All methods throw {@link ApiError}. */
export class Api {
  readonly #token: string;

  constructor(token: string) {
    this.#token = token;
  }

  /** Who the token belongs to. */
  whoAmI(): Promise<Identity> {
    return this.#json('GET', '/api/v1/me');
  }

  cdns(): Promise<CdnList> {
    return this.#json('GET', '/api/v1/cdns');
  }

  health(cdn: string): Promise<HealthReport> {
    return this.#json('GET', `/api/v1/cdns/${encodeURIComponent(cdn)}/health`);
  }

  audit(cursor: string | undefined): Promise<AuditPage> {
    const query = cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    return this.#json('GET', `/api/v1/audit?limit=25${query}`);
  }

  status(): Promise<Status> {
    return this.#json('GET', '/api/v1/status');
  }

  snapshot(): Promise<Snapshot> {
    return this.#json('GET', '/steering/v1/snapshot');
  }

  async plannedChanges(): Promise<readonly PlannedChange[]> {
    return (await this.#json<{ changes: readonly PlannedChange[] }>('GET', '/api/v1/changes')).changes;
  }

  async cancelChange(id: string, reason: string): Promise<void> {
    const path = `/api/v1/changes/${encodeURIComponent(id)}?reason=${encodeURIComponent(reason)}`;
    await this.#send('DELETE', path);
  }

  preview(cdn: CdnView, request: ChangeRequest): Promise<Simulation> {
    return this.#json('PATCH', `${cdnPath(cdn)}?dryRun=true`, request, ifMatch(cdn));
  }

  apply(cdn: CdnView, request: ChangeRequest): Promise<CdnView> {
    return this.#json('PATCH', cdnPath(cdn), request, ifMatch(cdn));
  }

  /** Opens the stream of events; the body goes on until `signal` aborts. */
  async events(signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const response = await this.#send(
      'GET',
      '/api/v1/events',
      undefined,
      { accept: 'text/event-stream' },
      signal,
    );
    if (response.body === null)
      throw new ApiError(response.status, 'no_body', 'The stream of events is empty.');
    return response.body;
  }

  async #json<Answer>(
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const response = await this.#send(method, path, body, headers);
    return (await response.json()) as Answer;
  }

  async #send(
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
    signal: AbortSignal = AbortSignal.timeout(DEADLINE_MS),
  ): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(path, {
        method,
        cache: 'no-store',
        credentials: 'omit',
        redirect: 'error',
        signal,
        headers: {
          authorization: `Bearer ${this.#token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch {
      throw new ApiError(0, 'unreachable', 'The steering server does not answer.');
    }
    if (!response.ok) throw await toError(response);
    return response;
  }
}

function cdnPath({ name }: CdnView): string {
  return `/api/v1/cdns/${encodeURIComponent(name)}`;
}

function ifMatch({ generation }: CdnView): Record<string, string> {
  return { 'if-match': `"${generation}"` };
}

/** @spec RFC 9457 */
async function toError(response: Response): Promise<ApiError> {
  const fallback = new ApiError(response.status, 'http_error', `The server answered ${response.status}.`);
  try {
    const problem = (await response.json()) as {
      code?: string;
      detail?: string;
      errors?: { field: string; message: string }[];
    };
    const fields = (problem.errors ?? []).map(({ field, message }) => ` ${field}: ${message}.`).join('');
    return new ApiError(
      response.status,
      problem.code ?? fallback.code,
      `${problem.detail ?? fallback.message}${fields}`,
    );
  } catch {
    return fallback;
  }
}
