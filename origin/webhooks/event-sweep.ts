import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import { DatabaseUnavailableError } from '#runtime/postgres/database-errors.ts';
import type { Database } from '#runtime/postgres/database.ts';
import type { EventOutbox } from '#origin/webhooks/event-outbox.ts';
import { findReadyRecordings, findSilentEnds, forgetOldEvents } from '#origin/webhooks/events-table.ts';
import type { WebhookMetrics } from '#origin/webhooks/webhook-metrics.ts';

export type EventSweepDeps = {
  readonly database: Database;
  readonly outbox: Pick<EventOutbox, 'put'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: WebhookMetrics;
};

/** How often recordings that have become complete are looked for, ms. */
export const SWEEP_INTERVAL_MS = 2_000;
const SWEEPS_PER_UPKEEP = 30;
/** Recordings that became complete longer ago are nobody's news. */
const RECORDING_NEWS_MS = 24 * 60 * 60 * 1000;
/** Longer than a reconnect window may be. */
const SILENT_END_MS = 31 * 60 * 1000;

/** Finds in the database what no origin has seen happen: complete recordings, and ends while nobody was there. */
export class EventSweep {
  readonly #deps: EventSweepDeps;
  #timer: Timer | undefined;
  #closed = false;
  #sweeps = 0;

  constructor(deps: EventSweepDeps) {
    this.#deps = deps;
    this.#later();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  /** @throws {DatabaseUnavailableError} */
  async run(): Promise<void> {
    const { database, outbox, clock } = this.#deps;
    const nowMs = clock.nowMs();
    const isUpkeepDue = this.#sweeps++ % SWEEPS_PER_UPKEEP === 0;
    const events = await database.run(async ({ sql }) => {
      const ready = await findReadyRecordings(sql, nowMs, nowMs - RECORDING_NEWS_MS);
      if (!isUpkeepDue) return ready;
      await forgetOldEvents(sql, nowMs);
      return [...ready, ...(await findSilentEnds(sql, nowMs, SILENT_END_MS))];
    });
    for (const event of events) outbox.put(event);
  }

  #later(): void {
    if (this.#closed) return;
    this.#timer = this.#deps.clock.after(SWEEP_INTERVAL_MS, () => {
      this.run()
        .catch((error: unknown) => {
          this.#deps.metrics.failures.inc({ what: 'sweep' });
          if (!(error instanceof DatabaseUnavailableError))
            this.#deps.logger.error({ err: error }, 'events cannot be looked for');
        })
        .finally(() => this.#later())
        .catch(() => undefined);
    });
  }
}
