import type { ServerResponse } from 'node:http';
import type { FirstListener, NodeRequest, NodeResponse } from '#runtime/http/server.ts';
import type { Client } from '#origin/live/held-requests.ts';
import type { Answer, AnswerConditions } from '#origin/http/playback-answers.ts';
import type { PlaybackRoutes } from '#origin/http/playback-routes.ts';
import { splitTarget } from '#origin/http/playback-target.ts';

/**
 * Answers everything below `/live/` on Node's own response. These are the requests that come by the thousand: a
 * fetch-style Request, Headers and Response for each cost more than all the rest of the answer.
 */
export function createPlaybackListener(routes: PlaybackRoutes): FirstListener {
  return (incoming, outgoing) => {
    const target = splitTarget(incoming.url ?? '');
    if (target === undefined) return false;
    const method = incoming.method ?? '';
    const request = {
      method,
      target,
      conditions: conditionsOf(incoming),
      client: new ResponseClient(outgoing),
    };
    void routes(request).then((answer) => {
      if (answer !== undefined && !outgoing.destroyed) send(answer, method, outgoing);
    });
    return true;
  };
}

/** Gone when its response is closed before it was written. The signal costs something, and only who is held needs it. */
class ResponseClient implements Client {
  readonly #outgoing: NodeResponse;
  #abort: AbortController | undefined;

  constructor(outgoing: NodeResponse) {
    this.#outgoing = outgoing;
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      const abort = new AbortController();
      this.#abort = abort;
      if (this.#outgoing.destroyed) abort.abort();
      else
        this.#outgoing.once('close', () => {
          if (!this.#outgoing.writableEnded) abort.abort();
        });
    }
    return this.#abort.signal;
  }
}

function conditionsOf({ headers }: NodeRequest): AnswerConditions {
  return {
    acceptEncoding: single(headers['accept-encoding']),
    ifNoneMatch: headers['if-none-match'],
    range: headers.range,
    ifRange: single(headers['if-range']),
  };
}

function single(value: string | string[] | undefined): string | undefined {
  return typeof value === 'object' ? value.join(', ') : value;
}

function send({ status, headers, body }: Answer, method: string, outgoing: NodeResponse): void {
  // The two kinds of response have the same methods, but no common signature that TypeScript could call.
  const response = outgoing as Pick<ServerResponse, 'writeHead' | 'end'>;
  response.writeHead(status, headers);
  if (body === null || method === 'HEAD') response.end();
  else response.end(body);
}
