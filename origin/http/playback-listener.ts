import type { ServerResponse } from 'node:http';
import type { FirstListener, NodeRequest, NodeResponse } from '#runtime/http/server.ts';
import type { PlainHandler } from '#runtime/http/plain-connections.ts';
import type { SlowReaders } from '#runtime/http/slow-readers.ts';
import type { Client } from '#origin/live/held-requests.ts';
import type { Answer } from '#origin/http/playback-answers.ts';
import type { PlaybackRequest, PlaybackRoutes } from '#origin/http/playback-routes.ts';
import { splitTarget } from '#origin/http/playback-target.ts';

/**
 * Answers everything below `/live/` on Node's own response. These are the requests that come by the thousand: a
 * fetch-style Request, Headers and Response for each cost more than all the rest of the answer.
 */
export function createPlaybackListener(
  routes: PlaybackRoutes,
  deps: { readonly slowReaders?: Pick<SlowReaders, 'watch'> } = {},
): FirstListener {
  return (incoming, outgoing) => {
    const target = splitTarget(incoming.url ?? '');
    if (target === undefined) return false;
    const method = incoming.method ?? '';
    const request = {
      method,
      target,
      ...headersOf(incoming),
      client: new ResponseClient(incoming, outgoing),
    };
    void routes(request).then((answer) => {
      if (answer === undefined || outgoing.destroyed) return;
      send(answer, method, outgoing);
      deps.slowReaders?.watch(outgoing, answer.body?.length ?? 0);
    });
    return true;
  };
}

/** The same on the bare socket, for the requests that nearly all clients send. */
export function createPlainPlayback(routes: PlaybackRoutes): PlainHandler {
  return ({ method, url, authorization, ...conditions }, client) => {
    const target = splitTarget(url);
    return target && routes({ method, target, authorization, conditions, client });
  };
}

/** Gone when its response is closed before it was written. */
class ResponseClient implements Client {
  readonly address: string | undefined;
  readonly #outgoing: NodeResponse;
  #abort: AbortController | undefined;

  constructor(incoming: NodeRequest, outgoing: NodeResponse) {
    this.address = incoming.socket.remoteAddress;
    this.#outgoing = outgoing;
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      const abort = new AbortController();
      this.#abort = abort;
      if (this.onGone(() => abort.abort()) === undefined) abort.abort();
    }
    return this.#abort.signal;
  }

  onGone(gone: () => void): (() => void) | undefined {
    const outgoing = this.#outgoing as ServerResponse;
    if (outgoing.destroyed) return undefined;
    const onClose = (): void => {
      if (!outgoing.writableEnded) gone();
    };
    outgoing.once('close', onClose);
    return () => outgoing.off('close', onClose);
  }
}

/** Reads the few headers that matter from the list: Node makes an object of all of them when it is asked for one. */
function headersOf({ rawHeaders }: NodeRequest): Pick<PlaybackRequest, 'conditions' | 'authorization'> {
  let authorization: string | undefined;
  let acceptEncoding: string | undefined;
  let ifNoneMatch: string | undefined;
  let range: string | undefined;
  let ifRange: string | undefined;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const value = rawHeaders[index + 1] ?? '';
    switch (rawHeaders[index]?.toLowerCase() ?? '') {
      case 'accept-encoding':
        acceptEncoding = acceptEncoding === undefined ? value : `${acceptEncoding}, ${value}`;
        break;
      case 'if-none-match':
        ifNoneMatch = ifNoneMatch === undefined ? value : `${ifNoneMatch}, ${value}`;
        break;
      // Node's own reading of these: the first one counts.
      case 'authorization':
        authorization ??= value;
        break;
      case 'range':
        range ??= value;
        break;
      case 'if-range':
        ifRange ??= value;
        break;
      default:
    }
  }
  return { authorization, conditions: { acceptEncoding, ifNoneMatch, range, ifRange } };
}

function send({ status, headers, body }: Answer, method: string, outgoing: NodeResponse): void {
  // The two kinds of response have the same methods, but no common signature that TypeScript could call.
  const response = outgoing as Pick<ServerResponse, 'writeHead' | 'end'>;
  response.writeHead(status, headers);
  if (body === null || method === 'HEAD') response.end();
  else response.end(body);
}
