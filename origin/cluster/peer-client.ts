import { Agent, type Dispatcher } from 'undici';
import { z } from 'zod';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Clock } from '#runtime/clock.ts';

/** A peer that did not answer, or not in a way that a peer answers. Another one may do better. */
export class PeerUnavailableError extends Error {
  override readonly name = 'PeerUnavailableError';
  readonly code = 'peer_unavailable';
}

/** Connections to one peer. Every held request of a relay takes one. */
export const PEER_CONNECTIONS_MAX = 512;
const CONNECT_TIMEOUT_MS = 1_000;
const KEEP_ALIVE_MS = 30_000;
/** Most bytes of an answer: the media of one stream's window, as one stream may have it in memory. */
export const PEER_ANSWER_BYTES_MAX = 512 * 1024 * 1024;
const PROBLEM_BYTES_MAX = 16 * 1024;

const Problem = z.object({ code: z.string().regex(/^[a-z0-9_]{1,64}$/), detail: z.string().max(1_000) });
/** What of a peer's refusal goes on to whoever has asked here. */
const PROBLEM_HEADERS = ['cache-control', 'retry-after'] as const;

export type PeerCall = {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: object;
  /** From the call to the last byte of the answer. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
};

export type PeerAnswer = {
  readonly header: (name: string) => string | undefined;
  readonly bytes: Uint8Array<ArrayBuffer>;
};

/** The calls that origins make to one another: below `/internal/v1`, with the ingest token. */
export class PeerClient {
  readonly #ingestToken: string;
  readonly #clock: Clock;
  readonly #agent: Agent;

  constructor(settings: { readonly ingestToken: string }, deps: { readonly clock: Clock }) {
    this.#ingestToken = settings.ingestToken;
    this.#clock = deps.clock;
    this.#agent = new Agent({
      connections: PEER_CONNECTIONS_MAX,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connect: { timeout: CONNECT_TIMEOUT_MS },
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  /**
   * One call, never repeated here.
   *
   * @throws {ProblemError} what the peer has refused with, its code and status unchanged
   * @throws {PeerUnavailableError} no answer in time, or a failure of the peer itself
   */
  async call(peerUrl: string, { method, path, body, timeoutMs, signal }: PeerCall): Promise<PeerAnswer> {
    const deadline = new AbortController();
    const timer = this.#clock.after(timeoutMs, () => deadline.abort());
    const giveUp = (): void => deadline.abort();
    signal?.addEventListener('abort', giveUp, { once: true });
    if (signal?.aborted === true) giveUp();
    try {
      const response = await this.#agent.request({
        origin: peerUrl,
        path,
        method,
        headers: {
          authorization: `Bearer ${this.#ingestToken}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        body: body === undefined ? null : JSON.stringify(body),
        signal: deadline.signal,
      });
      const header = (name: string): string | undefined => one(response.headers[name]);
      if (response.statusCode >= 200 && response.statusCode < 300)
        return { header, bytes: await readAll(response, PEER_ANSWER_BYTES_MAX) };
      throw await toProblem(response, header);
    } catch (error) {
      if (error instanceof ProblemError || error instanceof PeerUnavailableError) throw error;
      throw new PeerUnavailableError(`${peerUrl} does not answer`, { cause: error });
    } finally {
      timer.cancel();
      signal?.removeEventListener('abort', giveUp);
    }
  }

  /**
   * A call that is answered with JSON of a known shape.
   *
   * @throws as {@link PeerClient.call}; {@link PeerUnavailableError} for another shape too: a peer of another version
   */
  async callJson<Shape extends z.ZodType>(
    peerUrl: string,
    shape: Shape,
    call: PeerCall,
  ): Promise<z.output<Shape>> {
    const { bytes } = await this.call(peerUrl, call);
    try {
      return shape.parse(JSON.parse(new TextDecoder().decode(bytes)));
    } catch (error) {
      throw new PeerUnavailableError(`${peerUrl} answers something else than expected`, { cause: error });
    }
  }

  /** Ends the connections; calls under way fail. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }
}

async function toProblem(
  response: Dispatcher.ResponseData,
  header: (name: string) => string | undefined,
): Promise<Error> {
  const { statusCode } = response;
  const text = new TextDecoder().decode(await readAll(response, PROBLEM_BYTES_MAX));
  const problem = Problem.safeParse(parseJson(text));
  if (!problem.success || statusCode < 400)
    return new PeerUnavailableError(`a peer answered ${statusCode} without a reason`);
  const headers = PROBLEM_HEADERS.flatMap((name) => {
    const value = header(name);
    return value === undefined ? [] : [[name, value] as const];
  });
  const { code, detail } = problem.data;
  return new ProblemError(statusCode, code, detail, { headers: Object.fromEntries(headers) });
}

async function readAll(
  { body }: Dispatcher.ResponseData,
  bytesMax: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of body as AsyncIterable<Uint8Array>) {
    length += piece.length;
    if (length > bytesMax) {
      body.destroy();
      throw new PeerUnavailableError(`a peer answered more than ${bytesMax} bytes`);
    }
    pieces.push(piece);
  }
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const piece of pieces) {
    bytes.set(piece, offset);
    offset += piece.length;
  }
  return bytes;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function one(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
