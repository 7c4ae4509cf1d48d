import type { PublishGrant } from '#protocol/ingest/publish-session.ts';
import type { Clock } from '#runtime/clock.ts';
import type { IncomingPublish, IngestPacket, PublishEnd } from './incoming-publish.ts';
import { readRelay, RelayReadError } from './relay-reader.ts';

/** When the connection breaks because the ingest died, the news of it come a moment later. */
const END_NEWS_WAIT_MS = 1_000;

/** An {@link IncomingPublish} whose packets come over the relay of an ingest process. */
export class RelayedPublish implements IncomingPublish {
  readonly grant: PublishGrant;
  readonly ended: Promise<PublishEnd>;
  readonly #relayPath: string;
  readonly #clock: Clock;
  readonly #resolveEnded: (reason: PublishEnd) => void;
  #hasEnded = false;

  constructor(grant: PublishGrant, relayPath: string, clock: Clock) {
    this.grant = grant;
    this.#relayPath = relayPath;
    this.#clock = clock;
    const { promise, resolve } = Promise.withResolvers<PublishEnd>();
    this.ended = promise;
    this.#resolveEnded = resolve;
  }

  /** Says why the broadcaster has gone; the first reason counts. */
  end(reason: PublishEnd): void {
    this.#hasEnded = true;
    this.#resolveEnded(reason);
  }

  /**
   * The packets from the last place where a decoder can begin: metadata and sequence headers first. May be called again,
   * also at the same time; a later reader begins within the running timeline.
   *
   * @throws {RelayReadError} `reader_too_slow`, `readers_exceeded`, or `relay_broken` while the publish goes on
   */
  async *packets(signal: AbortSignal): AsyncGenerator<IngestPacket, void, undefined> {
    try {
      yield* readRelay(this.#relayPath, this.grant.sessionId, signal);
    } catch (error) {
      const isOverWithEnd =
        error instanceof RelayReadError &&
        (error.code === 'relay_broken' || error.code === 'session_unknown');
      if (!isOverWithEnd || !(await this.#endsSoon())) throw error;
    }
  }

  async #endsSoon(): Promise<boolean> {
    if (this.#hasEnded) return true;
    const { promise: waited, resolve } = Promise.withResolvers<void>();
    const timer = this.#clock.after(END_NEWS_WAIT_MS, resolve);
    await Promise.race([this.ended, waited]);
    timer.cancel();
    return this.#hasEnded;
  }
}
