import {
  createServer as createHttp1Server,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { answerClientErrors } from '#runtime/http/client-errors.ts';
import { ConnectionDrain, type DrainOptions, type OpenConnections } from '#runtime/http/connection-drain.ts';
import { limitConnections } from '#runtime/http/connection-limits.ts';
import type { HttpMetrics } from '#runtime/http/http-metrics.ts';
import { PlainConnections, type PlainConnectionsOptions } from '#runtime/http/plain-connections.ts';
import { ProblemError, problemParts, problemResponse } from '#runtime/http/problem.ts';

/** What a service listens with. */
export type HttpListenOptions = {
  /** 0 takes any free port. */
  readonly port: number;
  readonly host: string;
  /** PEM texts; with them the server speaks HTTP/2 and HTTP/1.1 over TLS, without them HTTP/1.1. */
  readonly tls?: { readonly key: string; readonly cert: string };
  /** Longest a connection may stay idle between requests; keep it above the longest hold of a blocking reload. */
  readonly keepAliveTimeoutMs?: number;
  /** Connections in all; one more is closed at once. */
  readonly connectionsMax?: number;
  /** Connections of one address; without it as many as in all. */
  readonly addressConnectionsMax?: number;
  /** Longest that the headers of a request, and a request as a whole, may take to arrive. */
  readonly headersTimeoutMs?: number;
  readonly requestTimeoutMs?: number;
  readonly metrics?: HttpMetrics;
  /** Sees every request before the fetch handler does, and may answer it. */
  readonly first?: FirstListener;
  /** Answers plain requests of HTTP/1.1 without TLS before Node's HTTP server sees them. */
  readonly plain?: Pick<PlainConnectionsOptions, 'handler' | 'slowReaders'>;
  /** Requests whose connections stay open while the server drains, because the answers to others depend on them. */
  readonly isKeptWhileDraining?: (request: NodeRequest) => boolean;
};

/** A request of HTTP/1.1 or, through Node's compatibility API, HTTP/2. */
export type NodeRequest = IncomingMessage | Http2ServerRequest;
export type NodeResponse = ServerResponse | Http2ServerResponse;

/**
 * Answers a request on Node's own response, without the cost of a fetch-style Request and Response.
 *
 * @returns false when it leaves the request, untouched, to the fetch handler
 */
export type FirstListener = (incoming: NodeRequest, outgoing: NodeResponse) => boolean;

/** A listening server. */
export type RunningHttpServer = {
  /** `http://host:port` or `https://host:port` as a client on this machine reaches it. */
  readonly url: string;
  readonly port: number;
  readonly server: Server | Http2SecureServer;
  /**
   * Leaves without an error for anybody: every request is answered, its connection closed with the answer, and after a
   * moment nothing more is taken. To be followed by {@link close}.
   */
  drain(options: DrainOptions): Promise<void>;
  /** Stops accepting, lets answers under way finish for `graceMs`, then closes what is left. */
  close(graceMs?: number): Promise<void>;
};

/** Fetch-style handler: a Hono app's `fetch`. */
export type FetchHandler = Parameters<typeof getRequestListener>[0];

/** A port that is taken, or an address that is not ours. */
export class ListenError extends Error {
  readonly code = 'listen_failed';
  override readonly name = 'ListenError';
}

const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_TIMEOUT_MS = 75_000;
const TIMEOUT_CHECK_MS = 2_000;
const HEADER_COUNT_MAX = 64;
const HEADER_BYTES_MAX = 16 * 1024;
/** Longest path and query; longer ones are answered 414. */
export const URL_CHARS_MAX = 4 * 1024;
const CONNECTIONS_MAX = 19_000;

/**
 * Serves a fetch handler on a real socket with deadlines that Node's defaults lack.
 *
 * @throws {ListenError} when the port is taken; the message says what to do
 */
export async function listen(fetch: FetchHandler, options: HttpListenOptions): Promise<RunningHttpServer> {
  // HTTP/1.0 knows no Host, and the health checks of load balancers still speak it.
  const respond = getRequestListener(fetch, {
    overrideGlobalObjects: false,
    hostname: 'localhost',
    errorHandler: refuseRequest,
  });
  const { first, metrics } = options;
  const listener = (...args: Parameters<typeof respond>): void => {
    leaving.note(...args);
    if ((args[0].url?.length ?? 0) > URL_CHARS_MAX) refuseUrl(args[1], metrics);
    else if (first?.(...args) !== true) void respond(...args);
  };
  const { headersTimeoutMs = HEADERS_TIMEOUT_MS } = options;
  const limits: ServerOptions = {
    headersTimeout: headersTimeoutMs,
    requestTimeout: options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: Math.min(TIMEOUT_CHECK_MS, headersTimeoutMs),
    keepAliveTimeout: options.keepAliveTimeoutMs ?? KEEP_ALIVE_TIMEOUT_MS,
    maxHeaderSize: HEADER_BYTES_MAX,
    noDelay: true,
  };
  const server =
    options.tls === undefined
      ? createHttp1Server(limits, listener)
      : createSecureServer({ ...limits, ...options.tls, allowHTTP1: true }, listener);
  if ('maxHeadersCount' in server) server.maxHeadersCount = HEADER_COUNT_MAX;
  const plain =
    options.plain === undefined || !('maxRequestsPerSocket' in server)
      ? undefined
      : new PlainConnections(server, {
          ...options.plain,
          headersTimeoutMs,
          keepAliveTimeoutMs: options.keepAliveTimeoutMs ?? KEEP_ALIVE_TIMEOUT_MS,
        });
  const { connectionsMax = CONNECTIONS_MAX, addressConnectionsMax = connectionsMax } = options;
  limitConnections(server, { connectionsMax, addressConnectionsMax }, metrics);
  answerClientErrors(server, metrics);
  const connections = trackConnections(server);
  const leaving = new ConnectionDrain(server, connections, plain, options.isKeptWhileDraining);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(toListenError(error, options)));
    server.listen({ port: options.port, host: options.host, backlog: 4096 }, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const shownHost = options.host === '0.0.0.0' || options.host === '::' ? '127.0.0.1' : options.host;
  return {
    url: `${options.tls === undefined ? 'http' : 'https'}://${shownHost}:${port}`,
    port,
    server,
    drain: (drainOptions) => leaving.drain(drainOptions),
    close: (graceMs = 2_000) => {
      plain?.close();
      return closeServer(server, connections, graceMs);
    },
  };
}

/** A target or host that no URL can be made of. What an app throws has been answered by its own `onError` before. */
function refuseRequest(error: unknown): Response {
  const isRequest = error instanceof Error && error.name === 'RequestError';
  return problemResponse(
    isRequest
      ? new ProblemError(400, 'request_malformed', 'The request target or the Host header is not one.')
      : new ProblemError(500, 'internal_error', 'Something failed on our side; try again.'),
  );
}

function refuseUrl(outgoing: NodeResponse, metrics: HttpMetrics | undefined): void {
  const problem = new ProblemError(
    414,
    'url_too_long',
    `A URL has at most ${URL_CHARS_MAX} characters here.`,
  );
  metrics?.clientErrors.inc({ code: problem.code });
  const { headers, body } = problemParts(problem);
  // The two kinds of response have the same methods, but no common signature that TypeScript could call.
  const response = outgoing as ServerResponse;
  response.writeHead(problem.status, headers);
  response.end(body);
}

function toListenError(error: NodeJS.ErrnoException, options: HttpListenOptions): ListenError {
  const where = `${options.host}:${options.port}`;
  if (error.code === 'EADDRINUSE')
    return new ListenError(
      `${where} is taken by another program; stop it or choose another port (0 takes any free one)`,
    );
  return new ListenError(`cannot listen on ${where}: ${error.message}`, { cause: error });
}

/** An HTTP/2 server keeps no list of its own that could be closed. */
function trackConnections(server: Server | Http2SecureServer): OpenConnections {
  const sockets = new Set<Socket>();
  const sessions = new Set<ServerHttp2Session>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('session', (session: ServerHttp2Session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
  });
  return { sockets, sessions };
}

function closeServer(
  server: Server | Http2SecureServer,
  connections: OpenConnections,
  graceMs: number,
): Promise<void> {
  return new Promise((resolve) => {
    const force = setTimeout(() => {
      for (const socket of connections.sockets) socket.destroy();
    }, graceMs);
    server.close(() => {
      clearTimeout(force);
      resolve();
    });
    if ('closeIdleConnections' in server) server.closeIdleConnections();
    for (const session of connections.sessions) session.close();
  });
}
