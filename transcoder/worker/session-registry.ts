import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import type { IncomingPublish } from '#transcoder/ingest/incoming-publish.ts';
import type { TranscodeMetrics } from '#transcoder/transcode-metrics.ts';
import { TimelineClient } from '#transcoder/publisher/timeline-client.ts';
import { TranscodeSession, type SessionSettings } from '#transcoder/worker/transcode-session.ts';

type Deps = { readonly clock: Clock; readonly logger: Logger; readonly metrics: TranscodeMetrics };
type Running = { readonly session: TranscodeSession; readonly ended: Promise<void> };

const REFUSAL_DEADLINE_MS = 3_000;

/** All broadcasts that are being transcoded; never more than the limit, so never more encoders either. */
export class SessionRegistry {
  readonly #settings: SessionSettings;
  readonly #sessionsMax: number;
  readonly #deps: Deps;
  readonly #running = new Set<Running>();
  #closing = false;

  constructor(settings: SessionSettings, sessionsMax: number, deps: Deps) {
    this.#settings = settings;
    this.#sessionsMax = sessionsMax;
    this.#deps = deps;
    deps.metrics.sessionsMax.set(sessionsMax);
  }

  /** Broadcasts being transcoded now. */
  get size(): number {
    return this.#running.size;
  }

  /** Starts to transcode a broadcast, or refuses it when there are too many. */
  begin(publish: IncomingPublish): void {
    const { metrics, logger } = this.#deps;
    if (this.#closing) return;
    if (this.#running.size >= this.#sessionsMax) {
      metrics.sessionsRefused.inc();
      metrics.failures.inc({ code: 'sessions_exhausted' });
      logger.error(
        { streamId: publish.grant.streamId, sessionsMax: this.#sessionsMax },
        'a broadcast is refused: too many already',
      );
      void this.#refuse(publish);
      return;
    }
    const session = new TranscodeSession(publish, this.#settings, this.#deps);
    const running: Running = {
      session,
      ended: session.run().finally(() => {
        this.#running.delete(running);
        metrics.sessions.set(this.#running.size);
      }),
    };
    this.#running.add(running);
    metrics.sessions.set(this.#running.size);
  }

  /** Ends all broadcasts and waits until their last parts are stored or given up. */
  async close(): Promise<void> {
    this.#closing = true;
    const running = [...this.#running];
    for (const { session } of running) session.stop();
    await Promise.all(running.map(({ ended }) => ended));
  }

  async #refuse(publish: IncomingPublish): Promise<void> {
    const { originUrls, ingestToken } = this.#settings.publisher;
    const { clock } = this.#deps;
    const abort = new AbortController();
    const timer = clock.after(REFUSAL_DEADLINE_MS, () => abort.abort());
    await new TimelineClient(originUrls, ingestToken, publish.grant, clock).giveUp(abort.signal);
    timer.cancel();
  }
}
