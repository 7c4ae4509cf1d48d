import { Agent, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { ProblemError, problemParts } from '#runtime/http/problem.ts';
import type { NodeRequest, NodeResponse } from '#runtime/http/server.ts';

/** Connections to the main process: every request of the API and every upload under way has one. */
const CONNECTIONS_MAX = 1_024;
/** Of a connection and not of a request. @spec RFC 9110 §7.6.1, RFC 9113 §8.2.2 */
const OWN = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'te']);

/** Hands requests that a worker does not answer itself to the main process, bodies included, as they come. */
export class MainProxy {
  readonly #main: URL;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS_MAX });

  constructor(mainUrl: string) {
    this.#main = new URL(mainUrl);
  }

  pass(incoming: NodeRequest, outgoing: NodeResponse): void {
    const headers: Record<string, string | string[]> = {};
    for (const [name, value] of Object.entries(incoming.headers))
      if (value !== undefined && !name.startsWith(':') && !OWN.has(name)) headers[name] = value;
    const authority = incoming.headers[':authority'];
    if (typeof authority === 'string') headers['host'] = authority;
    const hasBody = 'content-length' in incoming.headers || 'transfer-encoding' in incoming.headers;
    const upstream = httpRequest({
      host: this.#main.hostname,
      port: this.#main.port,
      agent: this.#agent,
      method: incoming.method ?? 'GET',
      path: incoming.url ?? '/',
      headers,
    });
    // The two kinds of response have the same methods, but no common signature that TypeScript could call.
    const response = outgoing as ServerResponse;
    response.once('close', () => upstream.destroy());
    upstream.once('response', (answer) => giveBack(answer, response));
    upstream.once('error', () => {
      if (response.headersSent || response.destroyed) response.destroy();
      else refuse(response);
    });
    if (hasBody || incoming.httpVersionMajor === 2) incoming.pipe(upstream);
    else upstream.end();
  }

  close(): void {
    this.#agent.destroy();
  }
}

function giveBack(answer: IncomingMessage, response: ServerResponse): void {
  const headers = Object.fromEntries(
    Object.entries(answer.headers).filter(([name, value]) => value !== undefined && !OWN.has(name)),
  );
  response.writeHead(answer.statusCode ?? 502, headers);
  answer.once('error', () => response.destroy());
  answer.pipe(response);
}

function refuse(response: ServerResponse): void {
  const problem = new ProblemError(503, 'main_unavailable', 'This origin is restarting; try again.', {
    headers: { 'retry-after': '1' },
  });
  const { headers, body } = problemParts(problem);
  response.writeHead(problem.status, headers);
  response.end(body);
}
