import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { IncomingPublish } from './incoming-publish.ts';
import type { IngestSettings } from './ingest-settings.ts';

/** What an {@link IngestSupervisor} is given. */
export type IngestSupervisorDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
};

/**
 * Keeps the RTMP ingest running in a child process of its own and hands its publishes on. A child that dies is started
 * again, on the same port, after a growing pause; its publishes end as `lost`.
 */
export class IngestSupervisor {
  readonly #settings: IngestSettings;
  readonly #deps: IngestSupervisorDeps;
  readonly #listeners: ((publish: IncomingPublish) => void)[] = [];

  constructor(settings: IngestSettings, deps: IngestSupervisorDeps) {
    this.#settings = settings;
    this.#deps = deps;
  }

  /** Whether broadcasters can connect now. */
  get ready(): boolean {
    return false;
  }

  /**
   * Starts the child; resolves when it listens.
   *
   * @throws an error with code `listen_failed` when the port is taken, `ingest_start_failed` otherwise
   */
  start(): Promise<{ rtmpPort: number }> {
    this.#deps.logger.debug('not built yet');
    return Promise.resolve({ rtmpPort: this.#settings.rtmpPort });
  }

  /** Calls `listener` for every broadcaster that the origin has accepted, before its first packet. */
  onPublish(listener: (publish: IncomingPublish) => void): void {
    this.#listeners.push(listener);
  }

  /** Ends every publish as `lost`, stops the child and removes what it left behind. */
  close(): Promise<void> {
    return Promise.resolve();
  }
}
