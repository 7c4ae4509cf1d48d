import { Pool } from 'undici';
import { HOLDERS_HEADER, parseHoldersNote, type HoldersNote } from '#protocol/ingest/part-upload.ts';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import { TranscodeError } from '#transcoder/transcode-error.ts';
import type { TranscodeMetrics } from '#transcoder/transcode-metrics.ts';
import { UploadQueue, type UploadItem, type UploadQueueLimits } from '#transcoder/publisher/upload-queue.ts';

/** Limits of the uploads to one origin. */
export type UploadLimits = UploadQueueLimits & {
  /** Longest a single request may take before it is tried again. */
  readonly attemptTimeoutMs: number;
};

/** What an {@link OriginUploader} needs. */
export type OriginUploaderOptions = {
  readonly originUrl: string;
  readonly ingestToken: string;
  /** Lowest priority first. */
  readonly renditionIds: readonly string[];
  readonly limits: UploadLimits;
  /** The origin will take nothing more of this session; said once. */
  onFatal(error: TranscodeError): void;
  /** The origin has said which origins hold the stream now. */
  onHolders(note: HoldersNote): void;
};
type Deps = { readonly clock: Clock; readonly logger: Logger; readonly metrics: TranscodeMetrics };

const RETRY_MS = { first: 40, most: 640 } as const;
/** A rendition that gets so many refusals in a row, gaps included, has lost its place at the origin. */
const REFUSALS_MAX = 12;
const ANSWER_BYTES_MAX = 16 * 1024;

/**
 * Uploads the parts of one session to one origin over keep-alive connections: one request at a time per rendition, in
 * order, repeated until it is stored or given up. Never holds more than its queue's limits.
 */
export class OriginUploader {
  readonly #options: OriginUploaderOptions;
  readonly #deps: Deps;
  readonly #pool: Pool;
  readonly #queue: UploadQueue;
  /** The requests under way. One signal for all of them would gather listeners for the life of the session. */
  readonly #attempts = new Set<AbortController>();
  #stopped = false;
  readonly #retries = new Map<string, { attempts: number; timer: Timer | undefined }>();
  /** Refusals of each rendition since something of it was stored. */
  readonly #refusals = new Map<string, number>();
  #idle: (() => void)[] = [];
  #reported = { bytes: 0, items: 0 };

  constructor(options: OriginUploaderOptions, deps: Deps) {
    this.#options = options;
    this.#deps = deps;
    this.#queue = new UploadQueue(options.limits, options.renditionIds, (reason, renditionId) => {
      deps.metrics.partsDropped.inc({ reason });
      deps.logger.warn({ reason, renditionId, originUrl: options.originUrl }, 'a part was given up');
    });
    this.#pool = new Pool(options.originUrl, {
      connections: options.renditionIds.length,
      pipelining: 1,
      keepAliveTimeout: 30_000,
      connect: { timeout: options.limits.attemptTimeoutMs },
    });
  }

  /** Bytes waiting or under way. */
  get queuedBytes(): number {
    return this.#queue.bytes;
  }

  /** Whether something is being tried again because the origin has not answered as it should. */
  get isFailing(): boolean {
    return this.#retries.size > 0;
  }

  /** Puts an item at the end of its rendition's queue. Never waits. */
  push(item: UploadItem): void {
    if (this.#stopped) return;
    this.#queue.push(item, this.#deps.clock.monotonicMs());
    this.#report();
    this.#pump(item.renditionId);
  }

  /** Resolves when nothing is left to be sent, or after `deadlineMs`. */
  async drain(deadlineMs: number): Promise<void> {
    if (this.#queue.items === 0 || this.#stopped) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#idle.push(resolve);
    const timer = this.#deps.clock.after(deadlineMs, resolve);
    await promise;
    timer.cancel();
  }

  /** Drops what is left and closes the connections. */
  async close(): Promise<void> {
    this.#stop();
    await this.#pool.destroy();
  }

  #stop(): void {
    this.#stopped = true;
    for (const attempt of this.#attempts) attempt.abort();
    for (const retry of this.#retries.values()) retry.timer?.cancel();
    this.#retries.clear();
    this.#queue.clear();
    this.#report();
    this.#notifyIdle();
  }

  #pump(renditionId: string): void {
    if (this.#stopped || this.#retries.get(renditionId)?.timer !== undefined) return;
    const item = this.#queue.take(renditionId, this.#deps.clock.monotonicMs());
    this.#report();
    if (item === undefined) {
      if (this.#queue.items === 0) this.#notifyIdle();
      return;
    }
    this.#put(item).then(
      (outcome) => this.#settle(item, outcome),
      (error: unknown) => this.#fail(toFatal(error)),
    );
  }

  #settle(item: UploadItem, outcome: 'stored' | 'refused' | 'retry'): void {
    const { renditionId } = item;
    if (this.#stopped) return;
    if (outcome === 'retry') {
      this.#queue.settle(renditionId, 'keep');
      this.#retryLater(renditionId);
      return;
    }
    this.#retries.delete(renditionId);
    if (outcome === 'stored') {
      this.#refusals.delete(renditionId);
      this.#queue.settle(renditionId, 'remove');
    } else {
      const refusals = (this.#refusals.get(renditionId) ?? 0) + 1;
      this.#refusals.set(renditionId, refusals);
      this.#queue.refuse(renditionId);
      if (refusals >= REFUSALS_MAX)
        return this.#fail(new TranscodeError('timeline_lost', `${refusals} parts in a row were refused`));
    }
    this.#pump(renditionId);
  }

  #retryLater(renditionId: string): void {
    const attempts = (this.#retries.get(renditionId)?.attempts ?? 0) + 1;
    this.#deps.metrics.putRetries.inc();
    const delayMs = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** (attempts - 1));
    const timer = this.#deps.clock.after(delayMs, () => {
      this.#retries.set(renditionId, { attempts, timer: undefined });
      this.#pump(renditionId);
    });
    this.#retries.set(renditionId, { attempts, timer });
  }

  /** @throws {TranscodeError} when the origin says that nothing more will be taken */
  async #put(item: UploadItem): Promise<'stored' | 'refused' | 'retry'> {
    const { clock, logger, metrics } = this.#deps;
    const attempt = new AbortController();
    this.#attempts.add(attempt);
    const timer = clock.after(this.#options.limits.attemptTimeoutMs, () => attempt.abort());
    const startMs = clock.monotonicMs();
    try {
      const response = await this.#pool.request({
        method: 'PUT',
        path: item.path,
        headers: { authorization: `Bearer ${this.#options.ingestToken}`, ...item.headers },
        body: item.body ?? null,
        signal: attempt.signal,
      });
      this.#readHolders(response.headers[HOLDERS_HEADER]);
      if (response.statusCode === 200 || response.statusCode === 201) {
        await response.body.dump({ limit: ANSWER_BYTES_MAX });
        metrics.putDuration.observe((clock.monotonicMs() - startMs) / 1000);
        this.#observeStored(item);
        return 'stored';
      }
      const code = await problemCode(response.body);
      const verdict = judgePart(response.statusCode, code);
      const log = { status: response.statusCode, code, path: item.path, originUrl: this.#options.originUrl };
      logger.warn(log, 'the origin did not take a part');
      if (verdict instanceof TranscodeError) throw verdict;
      return verdict;
    } catch (error) {
      if (error instanceof TranscodeError) throw error;
      if (!this.#stopped)
        logger.debug({ err: error, path: item.path }, 'an upload failed and will be repeated');
      return 'retry';
    } finally {
      timer.cancel();
      this.#attempts.delete(attempt);
    }
  }

  #readHolders(header: string | string[] | undefined): void {
    const note = parseHoldersNote(Array.isArray(header) ? header[0] : header);
    if (note !== undefined && !this.#stopped) this.#options.onHolders(note);
  }

  #observeStored(item: UploadItem): void {
    if (item.arrivalUtcMs === undefined) return;
    const kind = item.headers['content-type']?.startsWith('audio') === true ? 'audio' : 'video';
    const latencyMs = this.#deps.clock.nowMs() - item.arrivalUtcMs;
    this.#deps.metrics.partStoredLatency.observe({ kind }, Math.max(0, latencyMs) / 1000);
  }

  #fail(error: TranscodeError): void {
    if (this.#stopped) return;
    this.#stop();
    this.#options.onFatal(error);
  }

  #report(): void {
    const { bytes, items } = this.#queue;
    this.#deps.metrics.uploadQueueBytes.inc(bytes - this.#reported.bytes);
    this.#deps.metrics.uploadQueueItems.inc(items - this.#reported.items);
    this.#reported = { bytes, items };
  }

  #notifyIdle(): void {
    const waiting = this.#idle;
    this.#idle = [];
    for (const resolve of waiting) resolve();
  }
}

/** As {@link judge}; a timeline that is not known can be begun anew, a session that is not known cannot. */
function judgePart(status: number, code: string | undefined): ReturnType<typeof judge> {
  return status === 404
    ? new TranscodeError('timeline_lost', `the origin says ${status} ${code ?? ''}`)
    : judge(status, code);
}

/**
 * What an answer means: for this part (`refused`), for now (`retry`), or for the session.
 *
 * @spec protocol/ingest/part-upload.ts
 */
export function judge(status: number, code: string | undefined): 'refused' | 'retry' | TranscodeError {
  const said = `${status}${code === undefined ? '' : ` ${code}`}`;
  if (status === 410) return new TranscodeError('session_over', `the origin says ${said}`);
  if (status === 409)
    return code === 'fencing_token_stale'
      ? new TranscodeError('session_over', `the origin says ${said}`)
      : 'refused';
  if (status === 401 || status === 403 || status === 404)
    return new TranscodeError('origin_refused', `the origin says ${said}`);
  if (status === 408 || status === 425 || status === 429 || status >= 500) return 'retry';
  return 'refused';
}

/** The `code` of a problem document, as far as it can be read. */
export async function problemCode(body: AsyncIterable<Uint8Array>): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > ANSWER_BYTES_MAX) return undefined;
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString('utf8');
  const match = /"code"\s*:\s*"([a-z_]{1,64})"/.exec(text);
  return match?.[1];
}

function toFatal(error: unknown): TranscodeError {
  return error instanceof TranscodeError
    ? error
    : new TranscodeError('origin_unreachable', String(error), { cause: error });
}
