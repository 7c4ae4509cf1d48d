import { ProblemError } from '#runtime/http/problem.ts';
import type { ObjectStore } from '#runtime/objects/object-store.ts';
import { ClientGoneError, type Client } from '#origin/live/held-requests.ts';
import type { RecordingMetrics } from '#origin/recording/recording-metrics.ts';
import type { RecordingSettings } from '#origin/recording/recording-settings.ts';

type Bytes = Uint8Array<ArrayBuffer>;
type Read = {
  readonly promise: Promise<Bytes | undefined>;
  readonly abort: AbortController;
  readers: number;
};

/**
 * Reads objects of the store: once for all who want one at the same time, and again from memory for those who come soon
 * after. A read that nobody waits for any more is ended.
 */
export class ObjectReads {
  readonly #limits: Pick<RecordingSettings, 'readsMax' | 'readersMax' | 'cacheBytesMax'>;
  readonly #store: Pick<ObjectStore, 'get'>;
  readonly #metrics: RecordingMetrics;
  readonly #reads = new Map<string, Read>();
  /** The one used longest ago comes first. */
  readonly #cache = new Map<string, Bytes>();
  #cachedBytes = 0;
  #readers = 0;

  constructor(
    limits: Pick<RecordingSettings, 'readsMax' | 'readersMax' | 'cacheBytesMax'>,
    deps: { readonly store: Pick<ObjectStore, 'get'>; readonly metrics: RecordingMetrics },
  ) {
    this.#limits = limits;
    this.#store = deps.store;
    this.#metrics = deps.metrics;
  }

  /**
   * @returns undefined when there is no such object
   * @throws {ProblemError} 503 `recording_busy`, `recording_unavailable`; {@link ClientGoneError}
   */
  async read(key: string, client: Client): Promise<Bytes | undefined> {
    const cached = this.#cache.get(key);
    if (cached !== undefined) {
      this.#cache.delete(key);
      this.#cache.set(key, cached);
      this.#metrics.reads.inc({ from: 'cache' });
      return cached;
    }
    const known = this.#reads.get(key);
    const isRefused =
      this.#readers >= this.#limits.readersMax ||
      (known === undefined && this.#reads.size >= this.#limits.readsMax);
    if (isRefused) {
      this.#metrics.reads.inc({ from: 'refused' });
      throw unavailable('recording_busy', 'Too much is being read from recordings; try again.');
    }
    this.#metrics.reads.inc({ from: known === undefined ? 'store' : 'shared' });
    return this.#join(known ?? this.#begin(key), client);
  }

  /** Forgets what was read of objects that are deleted. */
  drop(prefix: string): void {
    for (const [key, bytes] of this.#cache)
      if (key.startsWith(prefix)) {
        this.#cache.delete(key);
        this.#addCached(-bytes.length);
      }
  }

  #begin(key: string): Read {
    const abort = new AbortController();
    const promise = this.#get(key, abort.signal).finally(() => {
      if (this.#reads.get(key) === read) this.#reads.delete(key);
    });
    // Whoever waits handles it; the last one may have gone.
    promise.catch(() => undefined);
    const read: Read = { promise, abort, readers: 0 };
    this.#reads.set(key, read);
    return read;
  }

  async #join(read: Read, client: Client): Promise<Bytes | undefined> {
    const { signal } = client;
    const gone = Promise.withResolvers<never>();
    const leave = (): void => gone.reject(new ClientGoneError());
    gone.promise.catch(() => undefined);
    if (signal.aborted) leave();
    else signal.addEventListener('abort', leave, { once: true });
    read.readers += 1;
    this.#readers += 1;
    try {
      return await Promise.race([read.promise, gone.promise]);
    } finally {
      signal.removeEventListener('abort', leave);
      read.readers -= 1;
      this.#readers -= 1;
      if (read.readers === 0) {
        read.abort.abort();
        for (const [key, other] of this.#reads) if (other === read) this.#reads.delete(key);
      }
    }
  }

  async #get(key: string, signal: AbortSignal): Promise<Bytes | undefined> {
    let bytes: Bytes | undefined;
    try {
      bytes = (await this.#store.get(key, { signal }))?.bytes;
    } catch (error) {
      if (!signal.aborted) this.#metrics.reads.inc({ from: 'failed' });
      throw unavailable('recording_unavailable', 'The recording cannot be read now; try again.', error);
    }
    if (bytes === undefined) this.#metrics.reads.inc({ from: 'missing' });
    else this.#keep(key, bytes);
    return bytes;
  }

  #keep(key: string, bytes: Bytes): void {
    if (bytes.length > this.#limits.cacheBytesMax || this.#cache.has(key)) return;
    this.#cache.set(key, bytes);
    this.#addCached(bytes.length);
    for (const [oldest, { length }] of this.#cache) {
      if (this.#cachedBytes <= this.#limits.cacheBytesMax) return;
      this.#cache.delete(oldest);
      this.#addCached(-length);
    }
  }

  #addCached(bytes: number): void {
    this.#cachedBytes += bytes;
    this.#metrics.cacheBytes.set(this.#cachedBytes);
  }
}

/** Old media make room first: caches hold the refusal for a while. */
export function unavailable(code: string, message: string, cause?: unknown): ProblemError {
  return new ProblemError(503, code, message, {
    headers: { 'cache-control': 'public, max-age=5', 'retry-after': '5' },
    ...(cause === undefined ? {} : { cause }),
  });
}
