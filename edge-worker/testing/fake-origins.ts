import { EdgeCounters } from '#edge-worker/edge-counters.ts';
import type { EdgeClock, EdgeDeps } from '#edge-worker/edge-deps.ts';

/** What a made-up server answers with; `hang` never, `fail` with a broken connection. */
export type FakeAnswer =
  | 'hang'
  | 'fail'
  | { readonly status?: number; readonly body: string; readonly headers?: Record<string, string> };

/** The other side of an edge's fetch. */
export class FakeOrigins {
  readonly requests: string[] = [];
  /** Requests that were given up by the edge. */
  aborted = 0;
  #answer: (url: string) => FakeAnswer | Promise<FakeAnswer>;

  constructor(answer: (url: string) => FakeAnswer | Promise<FakeAnswer>) {
    this.#answer = answer;
  }

  answer(answer: (url: string) => FakeAnswer | Promise<FakeAnswer>): void {
    this.#answer = answer;
  }

  async fetch(url: string, init: RequestInit): Promise<Response> {
    this.requests.push(url);
    const answer = await this.#answer(url);
    if (answer === 'fail') throw new TypeError('fetch failed');
    if (answer === 'hang')
      return new Promise((_, reject) => {
        init.signal?.addEventListener('abort', () => {
          this.aborted++;
          reject(new DOMException('aborted', 'AbortError'));
        });
      });
    return new Response(answer.body, { status: answer.status ?? 200, headers: answer.headers ?? {} });
  }
}

export function edgeDeps(clock: EdgeClock, origins: FakeOrigins): EdgeDeps {
  return {
    clock,
    counters: new EdgeCounters(),
    fetch: (url, init) => origins.fetch(url, init),
    place: () => ({ country: undefined, asn: undefined }),
  };
}

/** Lets everything go on that does not wait for the clock. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
}
