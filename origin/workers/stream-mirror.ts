import { z } from 'zod';
import type { Clock } from '#runtime/clock.ts';
import type { PeerClient } from '#origin/cluster/peer-client.ts';
import { WORKER_STREAM_PATH } from '#origin/workers/worker-routes.ts';

/** What a worker knows of a stream: the main process has the rest. */
const Entry = z.object({ isKnown: z.boolean(), isLive: z.boolean(), access: z.enum(['public', 'token']) });
type Entry = z.output<typeof Entry>;
type Kept = Entry & { readonly learntAtMs: number };

/** After this it is asked for again, while what is known goes on to be used. */
const REFRESH_AFTER_MS = 500;
/** How long it is used when the main process does not answer. */
const KEPT_MS = 5_000;
const ENTRIES_MAX = 10_000;
const TIMEOUT_MS = 2_000;

/** What the main process knows of the streams that are asked for; asked for twice a second at most. */
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

  /** What is known of a stream; undefined when that is nothing, or too old. */
  known(streamId: string): Entry | undefined {
    const entry = this.#entries.get(streamId);
    if (entry === undefined) return undefined;
    const ageMs = this.#clock.monotonicMs() - entry.learntAtMs;
    if (ageMs > KEPT_MS) return undefined;
    // Whoever is told nothing new asks again with the next request; what fails then is theirs to say.
    if (ageMs > REFRESH_AFTER_MS) this.learn(streamId).catch(() => undefined);
    return entry;
  }

  /**
   * Asks for a stream.
   *
   * @throws {PeerUnavailableError} when the main process does not answer
   */
  learn(streamId: string): Promise<void> {
    const asked = this.#asked.get(streamId) ?? this.#ask(streamId);
    this.#asked.set(streamId, asked);
    return asked;
  }

  async #ask(streamId: string): Promise<void> {
    try {
      const path = `${WORKER_STREAM_PATH}/${streamId}`;
      const call = { method: 'GET', path, timeoutMs: TIMEOUT_MS } as const;
      const entry = await this.#peers.callJson(this.#mainUrl, Entry, call);
      this.#entries.delete(streamId);
      this.#entries.set(streamId, { ...entry, learntAtMs: this.#clock.monotonicMs() });
      const [oldest] = this.#entries.keys();
      if (this.#entries.size > ENTRIES_MAX && oldest !== undefined) this.#entries.delete(oldest);
    } finally {
      this.#asked.delete(streamId);
    }
  }
}
