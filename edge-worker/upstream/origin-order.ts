import { prepareNodes, placementKey, rankPrepared } from '#protocol/placement/weighted-rendezvous.ts';

/** Streams whose origin is remembered; the one that changed longest ago is forgotten. */
const STREAMS_MAX = 4_096;

/**
 * Which origin is asked first for a stream: the one that answered last, and before anything is known the one that the
 * stream's hash says, so that all edges ask the same one.
 */
export class OriginOrder {
  readonly #nodes;
  readonly #preferred = new Map<string, string>();

  constructor(urls: readonly string[]) {
    this.#nodes = prepareNodes(urls.map((id) => ({ id, weight: 1 })));
  }

  of(streamId: string): string[] {
    const ranked = rankPrepared(placementKey(streamId, 'origin'), this.#nodes).map(({ id }) => id);
    const preferred = this.#preferred.get(streamId);
    return preferred === undefined ? ranked : [preferred, ...ranked.filter((url) => url !== preferred)];
  }

  /** Remembers who had an answer. */
  answered(streamId: string, url: string): void {
    if (this.#nodes.length < 2 || this.#preferred.get(streamId) === url) return;
    this.#preferred.delete(streamId);
    this.#preferred.set(streamId, url);
    const oldest = this.#preferred.keys().next().value;
    if (this.#preferred.size > STREAMS_MAX && oldest !== undefined) this.#preferred.delete(oldest);
  }
}
