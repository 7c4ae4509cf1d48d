import { Counter } from 'prom-client';
import { z } from 'zod';
import { STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { Disposable } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';

/** Most streams kept. */
export const LIVE_STREAMS_MAX = 10_000;
const POLL_INTERVAL_MS = 2_000;
const POLL_DEADLINE_MS = 2_000;
const BODY_BYTES_MAX = 4 * 1024 * 1024;
/** An origin that has not answered for so long knows nothing any more. */
const FORGET_AFTER_MS = 30_000;

const LiveList = z.object({
  streams: z.array(z.object({ id: z.string(), access: z.enum(['public', 'token']).default('public') })),
});

/** What one origin said, and when. */
type LiveStreamList = {
  readonly ids: readonly string[];
  readonly protectedIds: readonly string[];
  readonly atMs: number;
};

/** Which streams are live, as the origins say at `GET /api/v1/live`; the probes look at these. */
export class LiveStreams implements Disposable {
  readonly #urls: readonly string[];
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #failures: Counter;
  readonly #lists = new Map<string, LiveStreamList>();
  readonly #abort = new AbortController();
  #ids: readonly string[] = [];
  #protectedIds: ReadonlySet<string> = new Set();
  #timer: Timer | undefined;
  #polling: Promise<void> = Promise.resolve();

  constructor(
    originUrls: readonly string[],
    deps: { readonly clock: Clock; readonly logger: Logger; readonly metrics: Metrics },
  ) {
    this.#urls = originUrls;
    this.#clock = deps.clock;
    this.#logger = deps.logger;
    this.#failures = new Counter({
      name: 'steering_live_list_failures_total',
      help: 'Lists of live streams that an origin did not give.',
      registers: [deps.metrics],
    });
    this.#poll();
  }

  /** Ids of the streams that are live on any origin. */
  ids(): readonly string[] {
    return this.#ids;
  }

  /** Whether viewers of a stream need a playback token. */
  isProtected(streamId: string): boolean {
    return this.#protectedIds.has(streamId);
  }

  async close(): Promise<void> {
    this.#timer?.cancel();
    this.#abort.abort();
    await this.#polling;
  }

  #poll(): void {
    this.#polling = Promise.all(this.#urls.map((url) => this.#ask(url))).then(() => {
      const nowMs = this.#clock.monotonicMs();
      for (const [url, { atMs }] of this.#lists) if (nowMs - atMs > FORGET_AFTER_MS) this.#lists.delete(url);
      const ids = new Set([...this.#lists.values()].flatMap((list) => list.ids));
      this.#ids = [...ids].slice(0, LIVE_STREAMS_MAX);
      this.#protectedIds = new Set([...this.#lists.values()].flatMap((list) => list.protectedIds));
      if (!this.#abort.signal.aborted) this.#timer = this.#clock.after(POLL_INTERVAL_MS, () => this.#poll());
    });
  }

  async #ask(url: string): Promise<void> {
    try {
      const signal = AbortSignal.any([this.#abort.signal, AbortSignal.timeout(POLL_DEADLINE_MS)]);
      const response = await fetch(`${url}/api/v1/live`, { signal, redirect: 'error' });
      const list = LiveList.parse(JSON.parse(await readBounded(response)));
      const streams = list.streams.filter(({ id }) => STREAM_ID_PATTERN.test(id));
      this.#lists.set(url, {
        ids: streams.map(({ id }) => id),
        protectedIds: streams.flatMap(({ id, access }) => (access === 'token' ? [id] : [])),
        atMs: this.#clock.monotonicMs(),
      });
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      this.#failures.inc();
      this.#logger.debug({ err: error }, 'an origin does not say what is live');
    }
  }
}

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new RangeError('the list of live streams is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
