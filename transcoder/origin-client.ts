import { Agent, request, type Dispatcher } from 'undici';
import { z } from 'zod';
import {
  PublishGrant,
  type EndRequest,
  type Heartbeat,
  type PublishRequest,
} from '#protocol/ingest/publish-session.ts';

/** Where the origins are and how long each answer may take. */
export type OriginClientSettings = {
  /** `http://host:port` of origins that share the sessions. */
  readonly originUrls: readonly string[];
  /** Bearer token of the `/ingest/v1` calls. */
  readonly ingestToken: string;
  readonly authoriseTimeoutMs: number;
  readonly heartbeatTimeoutMs: number;
  readonly endReportTimeoutMs: number;
};

/**
 * A call that did not do what was asked. `code` is the origin's own (`PUBLISH_ERROR_CODES` and others), or one of
 * `origin_timeout`, `origin_unreachable`, `origin_answer_invalid`, `origin_error`, `aborted`.
 */
export class OriginCallError extends Error {
  override readonly name = 'OriginCallError';
  readonly code: string;
  /** HTTP status; undefined when there was no answer. */
  readonly status: number | undefined;

  constructor(code: string, message: string, status?: number, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.status = status;
  }
}

const ANSWER_BYTES_MAX = 64 * 1024;
const CONNECTIONS_MAX = 64;
const AUTHORISE_CONNECTIONS_MAX = 32;
const KEEP_ALIVE_MS = 10_000;
/** Longest that one of several origins is waited for: a session that is not heard of for 3 s is over. */
const ATTEMPT_TIMEOUT_MS = 900;
const Problem = z.object({ code: z.string().regex(/^[a-z0-9_]{1,64}$/), detail: z.string().optional() });

/**
 * The publish-session calls, as the ingest makes them, over kept-alive connections. A call goes to the origin that has
 * answered last; one that cannot be reached, fails or is slow is passed over for the next. Every call ends by its
 * deadline, and what an origin has refused is not repeated: whoever calls knows whether that is right.
 */
export class OriginClient {
  readonly #settings: OriginClientSettings;
  readonly #agent: Agent;
  /** Index of the origin that has answered last. */
  #preferred = 0;
  /** Anybody can make us ask about keys: that must not hold up what we say about those who publish. */
  readonly #authoriseAgent: Agent;

  constructor(settings: OriginClientSettings) {
    this.#settings = settings;
    const options = { keepAliveTimeout: KEEP_ALIVE_MS, pipelining: 1 };
    this.#agent = new Agent({ ...options, connections: CONNECTIONS_MAX });
    this.#authoriseAgent = new Agent({ ...options, connections: AUTHORISE_CONNECTIONS_MAX });
  }

  /**
   * Asks whether a stream key may publish.
   *
   * @throws {OriginCallError} `stream_key_unknown`, `stream_busy`, or why there is no answer
   */
  async authorise(publish: PublishRequest, signal?: AbortSignal): Promise<PublishGrant> {
    const { authoriseTimeoutMs } = this.#settings;
    const path = '/ingest/v1/sessions';
    const answer = await this.#post(this.#authoriseAgent, path, publish, authoriseTimeoutMs, signal);
    const grant = PublishGrant.safeParse(answer);
    if (!grant.success)
      throw new OriginCallError('origin_answer_invalid', 'the origin granted something unreadable');
    return grant.data;
  }

  /**
   * Says that the broadcaster of a session is alive.
   *
   * @throws {OriginCallError} `session_ended`, `fencing_token_stale`, or why there is no answer
   */
  async heartbeat(sessionId: string, heartbeat: Heartbeat, signal?: AbortSignal): Promise<void> {
    const path = `/ingest/v1/sessions/${encodeURIComponent(sessionId)}/heartbeat`;
    await this.#post(this.#agent, path, heartbeat, this.#settings.heartbeatTimeoutMs, signal);
  }

  /**
   * Says that the broadcaster of a session has gone.
   *
   * @throws {OriginCallError}
   */
  async end(streamId: string, end: EndRequest, signal?: AbortSignal): Promise<void> {
    const path = `/ingest/v1/${encodeURIComponent(streamId)}/end`;
    await this.#post(this.#agent, path, end, this.#settings.endReportTimeoutMs, signal);
  }

  /** Ends the connections; calls under way fail. */
  async close(): Promise<void> {
    await Promise.all([this.#agent.destroy(), this.#authoriseAgent.destroy()]);
  }

  async #post(
    dispatcher: Agent,
    path: string,
    body: object,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const { originUrls } = this.#settings;
    const deadline = AbortSignal.timeout(timeoutMs);
    const attemptMs = originUrls.length === 1 ? timeoutMs : Math.min(timeoutMs, ATTEMPT_TIMEOUT_MS);
    let failure: OriginCallError | undefined;
    for (let attempt = 0; attempt < originUrls.length; attempt++) {
      const index = this.#preferred;
      try {
        const url = new URL(path, originUrls[index]);
        return await this.#postTo(url, dispatcher, body, attemptMs, deadline, signal);
      } catch (error) {
        if (!(error instanceof OriginCallError)) throw error;
        const isOthersTurn = error.status === undefined || error.status >= 500;
        if (!isOthersTurn || signal?.aborted === true) throw error;
        // What an origin has said says more than that another one says nothing.
        failure = failure?.status === undefined ? error : failure;
        // Another call may have found that out before.
        if (this.#preferred === index) this.#preferred = (index + 1) % originUrls.length;
        if (deadline.aborted) break;
      }
    }
    throw failure ?? new OriginCallError('origin_unreachable', 'there is no origin to ask');
  }

  async #postTo(
    url: URL,
    dispatcher: Agent,
    body: object,
    timeoutMs: number,
    deadline: AbortSignal,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const attempt = AbortSignal.timeout(timeoutMs);
    try {
      const response = await request(url, {
        dispatcher,
        method: 'POST',
        headers: {
          authorization: `Bearer ${this.#settings.ingestToken}`,
          'content-type': 'application/json',
        },
        body: JSON.stringify(body),
        signal: AbortSignal.any([attempt, deadline, ...(signal === undefined ? [] : [signal])]),
      });
      const answer = await readJson(response);
      if (response.statusCode >= 200 && response.statusCode < 300) return answer;
      throw toProblem(response.statusCode, answer);
    } catch (error) {
      if (error instanceof OriginCallError) throw error;
      if (signal?.aborted === true)
        throw new OriginCallError('aborted', 'the call was given up', undefined, { cause: error });
      if (deadline.aborted || attempt.aborted)
        throw new OriginCallError('origin_timeout', `no answer within ${timeoutMs} ms`, undefined, {
          cause: error,
        });
      throw new OriginCallError('origin_unreachable', 'the origin cannot be reached', undefined, {
        cause: error,
      });
    }
  }
}

function toProblem(status: number, answer: unknown): OriginCallError {
  const problem = Problem.safeParse(answer);
  if (!problem.success) return new OriginCallError('origin_error', `the origin answered ${status}`, status);
  return new OriginCallError(
    problem.data.code,
    problem.data.detail ?? `the origin answered ${status}`,
    status,
  );
}

/** The JSON of an answer, undefined for any other body. Reads no more than an answer can have. */
async function readJson(response: Dispatcher.ResponseData): Promise<unknown> {
  const pieces: Buffer[] = [];
  let byteCount = 0;
  for await (const piece of response.body as AsyncIterable<Buffer>) {
    byteCount += piece.length;
    if (byteCount > ANSWER_BYTES_MAX) {
      response.body.destroy();
      throw new OriginCallError('origin_answer_invalid', 'the origin answered too much', response.statusCode);
    }
    pieces.push(piece);
  }
  try {
    return JSON.parse(Buffer.concat(pieces).toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}
