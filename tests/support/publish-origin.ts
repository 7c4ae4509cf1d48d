import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  EndRequest,
  Heartbeat,
  HEARTBEAT_EXPIRY_MS,
  PublishRequest,
  type PublishGrant,
} from '#protocol/ingest/publish-session.ts';

/** A publish session as the double saw it. */
export type SeenSession = {
  readonly grant: PublishGrant;
  readonly streamKey: string;
  readonly startedMs: number;
  readonly heartbeats: { readonly atMs: number; readonly heartbeat: Heartbeat }[];
  end: { readonly atMs: number; readonly reason: EndRequest['reason'] | 'expired' | 'revoked' } | undefined;
};

/** How the double answers a request instead of doing what was asked. */
export type Answer = { readonly status: number; readonly code?: string; readonly body?: string };

const TOKEN = 'ingest-token-of-the-tests';

/**
 * The publish-session endpoints of an origin on a real socket, for tests of what calls them: grants every key that is
 * known, one publisher per key, ends a session that misses its heartbeats.
 */
export class PublishOrigin {
  readonly token = TOKEN;
  readonly sessions: SeenSession[] = [];
  /** Keys that may publish, and the streams they belong to. */
  readonly keys = new Map<string, string>();
  /** How long the answer to a key takes. */
  authoriseDelayMs = 0;
  /** Keys that were asked about so far. */
  questionCount = 0;
  /** Set to answer every call with this. */
  overrule: Answer | undefined;
  readonly #server: Server;
  #fencingToken = 0;

  private constructor() {
    this.#server = createServer((request, response) => void this.#handle(request, response));
  }

  /** Starts on any free port. */
  static async start(streamKeys: readonly string[] = []): Promise<PublishOrigin> {
    const origin = new PublishOrigin();
    for (const [index, key] of streamKeys.entries()) origin.keys.set(key, `stream-${index + 1}`);
    await new Promise<void>((resolve) => origin.#server.listen(0, '127.0.0.1', resolve));
    return origin;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Sessions of a key, oldest first. */
  of(streamKey: string): SeenSession[] {
    return this.sessions.filter((session) => session.streamKey === streamKey);
  }

  /** Ends the running session of a key as an operator does. */
  revoke(streamKey: string): void {
    for (const session of this.of(streamKey)) session.end ??= { atMs: performance.now(), reason: 'revoked' };
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = '';
    for await (const piece of request) text += String(piece);
    const path = request.url ?? '';
    if (path.endsWith('/sessions')) this.questionCount++;
    if (path.endsWith('/sessions') && this.authoriseDelayMs > 0)
      await new Promise((resolve) => setTimeout(resolve, this.authoriseDelayMs));
    const answer = this.overrule ?? this.#answer(request, path, text);
    const body =
      answer.body ??
      JSON.stringify({ type: `urn:problem:${answer.code}`, status: answer.status, code: answer.code });
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(body);
  }

  #answer(request: IncomingMessage, path: string, text: string): Answer {
    if (request.headers.authorization !== `Bearer ${TOKEN}`) return { status: 401, code: 'unauthorized' };
    this.#expire();
    const heartbeat = /^\/ingest\/v1\/sessions\/([0-9a-f-]{36})\/heartbeat$/.exec(path);
    if (path === '/ingest/v1/sessions') return this.#authorise(PublishRequest.parse(JSON.parse(text)));
    if (heartbeat?.[1] !== undefined) return this.#heartbeat(heartbeat[1], Heartbeat.parse(JSON.parse(text)));
    if (/^\/ingest\/v1\/[\w-]+\/end$/.test(path)) return this.#end(EndRequest.parse(JSON.parse(text)));
    return { status: 404, code: 'not_found' };
  }

  #authorise({ streamKey }: PublishRequest): Answer {
    const streamId = this.keys.get(streamKey);
    if (streamId === undefined) return { status: 403, code: 'stream_key_unknown' };
    if (this.of(streamKey).some((session) => session.end === undefined))
      return { status: 409, code: 'stream_busy' };
    const grant: PublishGrant = {
      sessionId: randomUUID(),
      streamId,
      fencingToken: ++this.#fencingToken,
      segmentDurationMs: 2_000,
      partDurationMs: 333,
      ladder: {},
    };
    this.sessions.push({ grant, streamKey, startedMs: performance.now(), heartbeats: [], end: undefined });
    return { status: 201, body: JSON.stringify(grant) };
  }

  #heartbeat(sessionId: string, heartbeat: Heartbeat): Answer {
    const session = this.sessions.find(({ grant }) => grant.sessionId === sessionId);
    if (session === undefined || session.end !== undefined) return { status: 410, code: 'session_ended' };
    session.heartbeats.push({ atMs: performance.now(), heartbeat });
    return { status: 200, body: '{}' };
  }

  #end({ sessionId, reason }: EndRequest): Answer {
    const session = this.sessions.find(({ grant }) => grant.sessionId === sessionId);
    if (session === undefined) return { status: 404, code: 'not_found' };
    session.end ??= { atMs: performance.now(), reason };
    return { status: 200, body: '{}' };
  }

  #expire(): void {
    const nowMs = performance.now();
    for (const session of this.sessions) {
      const heardMs = session.heartbeats.at(-1)?.atMs ?? session.startedMs;
      if (nowMs - heardMs > HEARTBEAT_EXPIRY_MS) session.end ??= { atMs: nowMs, reason: 'expired' };
    }
  }
}
