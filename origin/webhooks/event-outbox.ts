import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import { DatabaseUnavailableError } from '#runtime/postgres/database-errors.ts';
import type { Database } from '#runtime/postgres/database.ts';
import { storeEvent } from '#origin/webhooks/events-table.ts';
import type { WebhookEvent } from '#origin/webhooks/webhook-event.ts';
import type { WebhookMetrics } from '#origin/webhooks/webhook-metrics.ts';

/** Events that wait for the database; beyond, the oldest is lost. */
export const OUTBOX_MAX = 1_000;
const RETRY_MS = 1_000;

export type EventOutboxDeps = {
  readonly database: Database;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: WebhookMetrics;
  /** Names this origin. */
  readonly origin: string;
  /** Deliveries have begun. */
  readonly onBegun: () => void;
};

/** Takes events at once and brings them into the database in their order, when that is there. */
export class EventOutbox {
  readonly #deps: EventOutboxDeps;
  readonly #queue: WebhookEvent[] = [];
  #storing: Promise<void> | undefined;
  #retry: Timer | undefined;
  #closed = false;

  constructor(deps: EventOutboxDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#queue.length;
  }

  /** Never waits and never fails. */
  put(event: WebhookEvent): void {
    if (this.#closed) return;
    const { metrics, logger } = this.#deps;
    metrics.events.inc({ type: event.type });
    this.#queue.push(event);
    if (this.#queue.length > OUTBOX_MAX) {
      const lost = this.#queue.shift();
      metrics.eventsLost.inc({ reason: 'queue_full' });
      logger.warn({ type: lost?.type, streamId: lost?.streamId }, 'an event is lost to the webhooks');
    }
    this.#store();
  }

  /** Stores what it can still, and takes nothing any more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#retry?.cancel();
    await this.#storing;
  }

  #store(): void {
    if (this.#storing !== undefined) return;
    this.#retry?.cancel();
    this.#storing = this.#storeAll().finally(() => {
      this.#storing = undefined;
    });
  }

  async #storeAll(): Promise<void> {
    const { database, logger, metrics, origin, onBegun, clock } = this.#deps;
    for (let event = this.#queue[0]; event !== undefined; event = this.#queue[0]) {
      const storing = event;
      try {
        const { begun, dropped } = await database.transaction(({ sql }) => storeEvent(sql, storing, origin));
        if (dropped > 0) metrics.eventsLost.inc({ reason: 'pending_full' }, dropped);
        if (begun > 0) onBegun();
      } catch (error) {
        metrics.failures.inc({ what: 'store' });
        if (error instanceof DatabaseUnavailableError) {
          if (!this.#closed) this.#retry = clock.after(RETRY_MS, () => this.#store());
          return;
        }
        // It would fail again, and keep all others waiting behind it.
        logger.error({ err: error, type: storing.type }, 'an event could not be stored');
      }
      if (this.#queue[0] === storing) this.#queue.shift();
    }
  }
}
