import type { EdgeDeps, PlaceCache } from '#edge-worker/edge-deps.ts';
import type { PlaybackTarget } from '#edge-worker/http/playback-path.ts';
import { ACCESS_HEADER } from '#protocol/access/access-header.ts';
import { contentOf, freshForMs, type UpstreamAnswer } from '#edge-worker/upstream/upstream-answer.ts';

/** A cache that answers later than this is not waited for. */
const MATCH_LIMIT_MS = 20;
const MADE_AT = 'x-made-at-ms';

/**
 * The cache of a whole place (`caches.default` of a Worker) behind an isolate's memory. Only what never changes under its
 * name goes there: media, and playlists that were asked for by part.
 */
export class PlaceMemory {
  readonly #cache: PlaceCache;
  readonly #deps: Pick<EdgeDeps, 'clock' | 'counters'>;

  constructor(cache: PlaceCache, deps: Pick<EdgeDeps, 'clock' | 'counters'>) {
    this.#cache = cache;
    this.#deps = deps;
  }

  async match(key: string, target: PlaybackTarget): Promise<UpstreamAnswer | undefined> {
    if (!isLasting(target)) return undefined;
    const { clock, counters } = this.#deps;
    let timer: { cancel(): void } | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = clock.after(MATCH_LIMIT_MS, () => resolve(undefined));
    });
    try {
      const response = await Promise.race([this.#cache.match(key), late]);
      if (response === undefined) return undefined;
      const body = new Uint8Array(await response.arrayBuffer());
      const madeAtMs = Number(response.headers.get(MADE_AT));
      const answer: UpstreamAnswer = {
        status: 200,
        body,
        contentType: response.headers.get('content-type') ?? '',
        cacheControl: response.headers.get('cache-control') ?? '',
        etag: response.headers.get('etag') ?? undefined,
        madeAtMs,
        // Its Age is how long it has been in there, by which this is what is left.
        freshUntilMs:
          madeAtMs +
          freshForMs(
            target,
            200,
            new Headers({ 'cache-control': response.headers.get('cache-control') ?? '' }),
          ),
        isProtected: response.headers.get(ACCESS_HEADER) === 'token',
        content: contentOf(target, body),
      };
      if (answer.freshUntilMs <= clock.nowMs()) return undefined;
      counters.add('edge_answers_total', 'from="place"');
      return answer;
    } catch {
      // It may forget, and it may fail: the origin is asked instead.
      counters.add('edge_failures_total', 'in="place_match"');
      return undefined;
    } finally {
      timer?.cancel();
    }
  }

  async put(key: string, target: PlaybackTarget, answer: UpstreamAnswer): Promise<void> {
    if (!isLasting(target) || answer.status !== 200 || answer.freshUntilMs <= this.#deps.clock.nowMs())
      return;
    const headers: Record<string, string> = {
      'content-type': answer.contentType,
      'cache-control': answer.cacheControl,
      'content-length': String(answer.body.length),
      [MADE_AT]: String(answer.madeAtMs),
    };
    if (answer.etag !== undefined) headers['etag'] = answer.etag;
    if (answer.isProtected) headers[ACCESS_HEADER] = 'token';
    try {
      await this.#cache.put(key, new Response(answer.body, { headers }));
    } catch {
      this.#deps.counters.add('edge_failures_total', 'in="place_put"');
    }
  }
}

function isLasting(target: PlaybackTarget): boolean {
  return target.kind === 'media' || (target.kind === 'playlist' && target.directives.block !== undefined);
}
