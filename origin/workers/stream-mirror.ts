import { z } from 'zod';
import type { Clock } from '#runtime/clock.ts';
import { STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import type { PeerClient } from '#origin/cluster/peer-client.ts';
import type { StreamAccess } from '#origin/registry/stream-record.ts';
import { WORKER_STREAM_PATH } from '#origin/workers/worker-routes.ts';

/** What a worker knows of a stream: the main process has the rest. */
const Entry = z.object({ isKnown: z.boolean(), access: z.enum(['public', 'token']) });
type Entry = z.output<typeof Entry>;
type Kept = Entry & { readonly untilMs: number };

/** How long a change of a stream may take to reach the workers. */
const KEPT_MS = 1_000;
const ENTRIES_MAX = 10_000;
const TIMEOUT_MS = 2_000;

/** What the main process knows of streams, asked for once a second at most and only of those that are asked for. */
export class StreamMirror {
  readonly #mainUrl: string;
  readonly #peers: Pick<PeerClient, 'callJson'>;
  readonly #clock: Clock;
  readonly #entries = new Map<string, Kept>();
  readonly #asked = new Map<string, Promise<void>>();

  constructor(
    mainUrl: string,
    deps: { readonly peers: Pick<PeerClient, 'callJson'>; readonly clock: Clock },
  ) {
    this.#mainUrl = mainUrl;
    this.#peers = deps.peers;
    this.#clock = deps.clock;
  }

  /**
   * Brings what is known of a stream up to date; undefined when it is.
   *
   * @throws {PeerUnavailableError} when the main process does not answer
   */
  learn(streamId: string): Promise<void> | undefined {
    const known = this.#entries.get(streamId);
    if (!STREAM_ID_PATTERN.test(streamId)) return undefined;
    if (known !== undefined && known.untilMs > this.#clock.monotonicMs()) return undefined;
    const asked = this.#asked.get(streamId) ?? this.#ask(streamId);
    this.#asked.set(streamId, asked);
    return asked;
  }

  isKnown(streamId: string): boolean {
    return this.#entries.get(streamId)?.isKnown ?? false;
  }

  /** What has never been learnt is not for everybody. */
  accessOf(streamId: string): StreamAccess {
    return this.#entries.get(streamId)?.access ?? 'token';
  }

  async #ask(streamId: string): Promise<void> {
    try {
      const path = `${WORKER_STREAM_PATH}/${streamId}`;
      const call = { method: 'GET', path, timeoutMs: TIMEOUT_MS } as const;
      const entry = await this.#peers.callJson(this.#mainUrl, Entry, call);
      this.#entries.delete(streamId);
      this.#entries.set(streamId, { ...entry, untilMs: this.#clock.monotonicMs() + KEPT_MS });
      const [oldest] = this.#entries.keys();
      if (this.#entries.size > ENTRIES_MAX && oldest !== undefined) this.#entries.delete(oldest);
    } finally {
      this.#asked.delete(streamId);
    }
  }
}
