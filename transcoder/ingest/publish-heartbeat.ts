import { HEARTBEAT_INTERVAL_MS, type PublishGrant } from '#protocol/ingest/publish-session.ts';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { OriginClient } from '#transcoder/origin-client.ts';
import { OriginCallError } from '#transcoder/origin-client.ts';
import type { IngestMetrics } from './ingest-metrics.ts';
import type { SourceDescription } from './source-meter.ts';

/** Answers that say the session is over; all others leave it as it is and are tried again. */
const SESSION_OVER = new Set([404, 409, 410]);

export type PublishHeartbeatDeps = {
  readonly clock: Clock;
  readonly metrics: IngestMetrics;
  readonly origin: Pick<OriginClient, 'heartbeat'>;
  /** What the broadcaster sends, as far as it is known. */
  readonly describe: () => SourceDescription;
  /** Called once, when the origin says that the session is over. */
  readonly onRevoked: (code: string) => void;
};

/**
 * Tells the origin every second that a broadcaster is alive. Goes silent together with the broadcaster, so that the
 * origin notices by itself when our own report of the end gets lost.
 */
export class PublishHeartbeat {
  readonly #grant: PublishGrant;
  readonly #deps: PublishHeartbeatDeps;
  readonly #abort = new AbortController();
  #timer: Timer | undefined;
  #isUnderWay = false;
  #hasMediaBegun = false;
  #hasMediaSinceBeat = false;
  #isPaused = false;

  constructor(grant: PublishGrant, deps: PublishHeartbeatDeps) {
    this.#grant = grant;
    this.#deps = deps;
    this.#arm();
  }

  /** Notes that the broadcaster has sent media. */
  mediaCame(): void {
    this.#hasMediaBegun = true;
    this.#hasMediaSinceBeat = true;
    if (this.#isPaused) this.#beat();
  }

  /** Stops for good; the call under way is given up. */
  stop(): void {
    this.#timer?.cancel();
    this.#abort.abort();
  }

  #arm(): void {
    this.#timer = this.#deps.clock.after(HEARTBEAT_INTERVAL_MS, () => {
      this.#arm();
      // Until the first frame the connection has a deadline of its own.
      if (this.#hasMediaBegun && !this.#hasMediaSinceBeat) this.#isPaused = true;
      else this.#beat();
    });
  }

  #beat(): void {
    this.#isPaused = false;
    if (this.#isUnderWay || this.#abort.signal.aborted) return;
    this.#hasMediaSinceBeat = false;
    this.#isUnderWay = true;
    void this.#send();
  }

  async #send(): Promise<void> {
    const { metrics, origin, describe, onRevoked } = this.#deps;
    try {
      await origin.heartbeat(this.#grant.sessionId, { source: describe() }, this.#abort.signal);
      metrics.heartbeats.inc({ result: 'ok' });
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      const isOver =
        error instanceof OriginCallError && error.status !== undefined && SESSION_OVER.has(error.status);
      metrics.heartbeats.inc({ result: isOver ? 'session_over' : 'failed' });
      if (!isOver) return;
      this.stop();
      onRevoked(error.code);
    } finally {
      this.#isUnderWay = false;
    }
  }
}
