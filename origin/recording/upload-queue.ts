import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import type { ObjectStore } from '#runtime/objects/object-store.ts';
import type { RecordingMetrics } from '#origin/recording/recording-metrics.ts';
import type { RecordingSettings } from '#origin/recording/recording-settings.ts';

/** An object on its way to the store. */
export type Upload = {
  readonly key: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Resolves to whether {@link load} can give the bytes again. */
  readonly spooled: Promise<boolean>;
  /** Reads the bytes from disk; undefined when they are not there. */
  load(): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Told once what became of it. */
  settled(outcome: 'stored' | 'lost'): void;
};

/** As {@link Upload}, of something that is on disk only. */
export type SpooledUpload = Omit<Upload, 'bytes' | 'spooled'>;

export type UploadQueueDeps = {
  readonly store: Pick<ObjectStore, 'put'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: RecordingMetrics;
  /** From 0 to 1; spreads the repetitions of many origins. */
  readonly random?: () => number;
};

type Waiting = {
  readonly key: string;
  readonly queuedAtMs: number;
  body: Uint8Array<ArrayBuffer> | undefined;
  /** Undefined until it is known. */
  isSpooled: boolean | undefined;
  isUnderWay: boolean;
  readonly load: Upload['load'];
  readonly settled: Upload['settled'];
};

const RETRY_MS = { first: 200, most: 5_000 } as const;

/**
 * Objects that wait for the store, oldest first. Beyond a limit of bytes they wait on disk; what is neither in memory nor
 * on disk, and what has waited for too long, is given up and counted. A store that fails is asked by one upload at a time
 * until one gets through; then all go at once.
 */
export class UploadQueue {
  readonly #limits: Pick<RecordingSettings, 'queueBytesMax' | 'queueAgeMaxMs' | 'uploadsMax'>;
  readonly #deps: UploadQueueDeps;
  readonly #waiting = new Set<Waiting>();
  readonly #abort = new AbortController();
  #bytes = 0;
  #underWay = 0;
  #failures = 0;
  #retry: Timer | undefined;
  #idle: (() => void)[] = [];

  constructor(
    limits: Pick<RecordingSettings, 'queueBytesMax' | 'queueAgeMaxMs' | 'uploadsMax'>,
    deps: UploadQueueDeps,
  ) {
    this.#limits = limits;
    this.#deps = deps;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Seconds that the oldest object has been waiting. */
  get ageS(): number {
    const [oldest] = this.#waiting;
    return oldest === undefined ? 0 : (this.#deps.clock.monotonicMs() - oldest.queuedAtMs) / 1000;
  }

  /** Never waits. */
  push(upload: Upload): void {
    const waiting = this.#add(upload, upload.bytes, undefined);
    upload.spooled.then(
      (isSpooled) => {
        waiting.isSpooled = isSpooled;
        this.#keepLimits();
      },
      () => undefined,
    );
    this.#keepLimits();
    this.#pump();
  }

  pushSpooled(upload: SpooledUpload): void {
    this.#add(upload, undefined, true);
    this.#pump();
  }

  /** Forgets objects, as when their stream was deleted; one that is under way may still get there. */
  drop(isDropped: (key: string) => boolean): void {
    for (const waiting of this.#waiting) if (isDropped(waiting.key)) this.#remove(waiting);
    this.#report();
  }

  /** Whether anything below a prefix waits. */
  has(prefix: string): boolean {
    for (const { key } of this.#waiting) if (key.startsWith(prefix)) return true;
    return false;
  }

  /** Resolves when nothing waits, or after `deadlineMs`. */
  async drain(deadlineMs: number): Promise<void> {
    if (this.#waiting.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#idle.push(resolve);
    const timer = this.#deps.clock.after(deadlineMs, resolve);
    await promise;
    timer.cancel();
  }

  /** Ends what is under way. What waits stays on disk for the next start. */
  close(): void {
    this.#retry?.cancel();
    this.#abort.abort();
    this.#waiting.clear();
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #add(
    upload: SpooledUpload,
    body: Uint8Array<ArrayBuffer> | undefined,
    isSpooled: boolean | undefined,
  ): Waiting {
    const waiting = {
      key: upload.key,
      queuedAtMs: this.#deps.clock.monotonicMs(),
      body,
      isSpooled,
      isUnderWay: false,
      load: () => upload.load(),
      settled: (outcome: 'stored' | 'lost') => upload.settled(outcome),
    };
    this.#waiting.add(waiting);
    this.#bytes += body?.length ?? 0;
    this.#report();
    return waiting;
  }

  #keepLimits(): void {
    const oldestMs = this.#deps.clock.monotonicMs() - this.#limits.queueAgeMaxMs;
    for (const waiting of this.#waiting) {
      if (waiting.queuedAtMs >= oldestMs) break;
      if (!waiting.isUnderWay) this.#lose(waiting, 'too_old');
    }
    const isFull = (): boolean => this.#bytes > this.#limits.queueBytesMax;
    for (const waiting of isFull() ? this.#waiting : []) {
      if (waiting.isSpooled !== true || waiting.isUnderWay) continue;
      this.#bytes -= waiting.body?.length ?? 0;
      waiting.body = undefined;
      if (!isFull()) break;
    }
    for (const waiting of isFull() ? this.#waiting : []) {
      // What is just being written to disk gets the time for it, as long as that is bearable.
      const isHopeless = waiting.isSpooled === false || this.#bytes > 2 * this.#limits.queueBytesMax;
      if (waiting.body === undefined || waiting.isUnderWay || !isHopeless) continue;
      this.#lose(waiting, 'no_room');
      if (!isFull()) break;
    }
    this.#report();
  }

  #pump(): void {
    if (this.#retry !== undefined || this.#abort.signal.aborted) return;
    const most = this.#failures > 0 ? 1 : this.#limits.uploadsMax;
    for (const waiting of this.#waiting) {
      if (this.#underWay >= most) return;
      if (waiting.isUnderWay) continue;
      waiting.isUnderWay = true;
      this.#underWay += 1;
      void this.#upload(waiting).finally(() => {
        waiting.isUnderWay = false;
        this.#underWay -= 1;
        this.#keepLimits();
        this.#pump();
      });
    }
  }

  async #upload(waiting: Waiting): Promise<void> {
    const { store, metrics, logger } = this.#deps;
    const bytes = waiting.body ?? (await waiting.load());
    if (!this.#waiting.has(waiting)) return;
    if (bytes === undefined) return this.#lose(waiting, 'unreadable');
    try {
      const outcome = await store.put(waiting.key, bytes, { signal: this.#abort.signal });
      metrics.uploads.inc({ outcome });
      if (this.#failures > 0) logger.info({ waiting: this.#waiting.size }, 'the object store is back');
      this.#failures = 0;
      if (this.#waiting.has(waiting)) {
        this.#remove(waiting);
        waiting.settled('stored');
      }
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      metrics.uploads.inc({ outcome: 'failed' });
      if (this.#failures === 0) logger.warn({ err: error }, 'the object store does not take objects');
      this.#failures += 1;
      this.#retryLater();
    }
  }

  #retryLater(): void {
    if (this.#retry !== undefined) return;
    const { clock, random = Math.random } = this.#deps;
    const mostMs = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** Math.min(10, this.#failures - 1));
    this.#retry = clock.after(mostMs * (0.5 + random() / 2), () => {
      this.#retry = undefined;
      this.#keepLimits();
      this.#pump();
    });
  }

  #lose(waiting: Waiting, reason: 'no_room' | 'too_old' | 'unreadable'): void {
    this.#remove(waiting);
    this.#deps.metrics.lost.inc({ reason });
    this.#deps.logger.debug({ key: waiting.key, reason }, 'a segment is missing from its recording');
    waiting.settled('lost');
  }

  #remove(waiting: Waiting): void {
    if (!this.#waiting.delete(waiting)) return;
    this.#bytes -= waiting.body?.length ?? 0;
    if (this.#waiting.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
    this.#report();
  }

  #report(): void {
    const { metrics } = this.#deps;
    metrics.queueSegments.set(this.#waiting.size);
    metrics.queueBytes.set(this.#bytes);
    metrics.backlogAge.set(this.ageS);
  }
}
