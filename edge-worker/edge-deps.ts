import type { EdgeCounters } from '#edge-worker/edge-counters.ts';

/** Time as the edge needs it; `#runtime/clock.ts` has the same shape for Node. */
export type EdgeClock = {
  /** Wall clock, ms since the Unix epoch. In a Worker it stands still while nothing is waited for. */
  nowMs(): number;
  after(delayMs: number, callback: () => void): { cancel(): void };
};

/** The platform's fetch, of absolute URLs. */
export type EdgeFetch = (url: string, init: RequestInit) => Promise<Response>;

/** Keeps what a request has begun alive after its answer; a failure in there is nobody's. */
export type WaitUntil = (work: Promise<unknown>) => void;

/** From where a viewer asks, as far as somebody trusted says. */
export type ViewerPlace = { readonly country: string | undefined; readonly asn: number | undefined };

/** What the edge is made of, besides its settings. */
export type EdgeDeps = {
  readonly fetch: EdgeFetch;
  readonly clock: EdgeClock;
  readonly counters: EdgeCounters;
  /** Bytes that other isolates of the same place have fetched; without it only memory is looked into. */
  readonly placeCache?: PlaceCache;
  readonly place: (request: Request) => ViewerPlace;
};

/** A cache that outlives the isolate: bytes and headers by key. It may forget, and it never has to answer. */
export type PlaceCache = {
  match(key: string): Promise<Response | undefined>;
  put(key: string, response: Response): Promise<void>;
};
