import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import { DatabaseUnavailableError } from '#runtime/postgres/database-errors.ts';
import type { Database } from '#runtime/postgres/database.ts';
import type { SealedJson } from '#origin/registry/sealed-json.ts';
import {
  claimDeliveries,
  countPending,
  reportAttempt,
  type ClaimedDelivery,
} from '#origin/webhooks/deliveries-table.ts';
import type { WebhookMetrics } from '#origin/webhooks/webhook-metrics.ts';
import type { WebhookSender } from '#origin/webhooks/webhook-sender.ts';

export type DispatcherSettings = {
  /** Requests under way at once, and of those to one webhook. */
  readonly requestsMax: number;
  readonly perWebhookMax: number;
  /** How often it is looked for what is due, ms. */
  readonly pollMs: number;
  /** A delivery that was taken on and not reported on falls due again after this time, ms; longer than an attempt. */
  readonly leaseMs: number;
  /** Pauses after the first, second … attempt, ms; after the last one a delivery is given up. */
  readonly pausesMs: readonly number[];
};

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
/** Nine attempts over ten hours. */
export const DEFAULT_DISPATCHER_SETTINGS: DispatcherSettings = {
  requestsMax: 16,
  perWebhookMax: 2,
  pollMs: SECOND,
  leaseMs: 30 * SECOND,
  pausesMs: [5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 5 * HOUR],
};

export type DeliveryDispatcherDeps = {
  readonly database: Database;
  readonly box: SealedJson;
  readonly sender: Pick<WebhookSender, 'send'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: WebhookMetrics;
};

/** Sends what is due. What waits is in the database, so any origin goes on where another one was stopped. */
export class DeliveryDispatcher {
  readonly #settings: DispatcherSettings;
  readonly #deps: DeliveryDispatcherDeps;
  readonly #abort = new AbortController();
  readonly #inFlight = new Map<ClaimedDelivery, Promise<void>>();
  #claiming: Promise<void> | undefined;
  #isWoken = false;
  #timer: Timer | undefined;

  constructor(settings: DispatcherSettings, deps: DeliveryDispatcherDeps) {
    this.#settings = settings;
    this.#deps = deps;
    this.#later();
  }

  /** There may be something due. */
  wake(): void {
    this.#isWoken = true;
    if (this.#abort.signal.aborted || this.#claiming !== undefined) return;
    this.#claiming = this.#claim().finally(() => {
      this.#claiming = undefined;
      if (this.#isWoken) this.wake();
    });
  }

  /** Breaks off what is under way; it falls due again at once. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    this.#abort.abort();
    await this.#claiming;
    await Promise.all(this.#inFlight.values());
  }

  #later(): void {
    if (this.#abort.signal.aborted) return;
    this.#timer = this.#deps.clock.after(this.#settings.pollMs, () => {
      this.wake();
      this.#later();
    });
  }

  async #claim(): Promise<void> {
    this.#isWoken = false;
    const { database, box, metrics, logger } = this.#deps;
    const { requestsMax, perWebhookMax, leaseMs } = this.#settings;
    const limit = requestsMax - this.#inFlight.size;
    if (limit <= 0) return;
    const counts = Map.groupBy(this.#inFlight.keys(), ({ webhookId }) => webhookId);
    const busy = [...counts].filter(([, { length }]) => length >= perWebhookMax).map(([id]) => id);
    try {
      const claimed = await database.run(async ({ sql }) => {
        const found = await claimDeliveries(sql, box, { limit, perWebhookMax, busy, leaseMs });
        metrics.pending.set(await countPending(sql));
        return found;
      });
      for (const delivery of claimed) this.#begin(delivery);
    } catch (error) {
      metrics.failures.inc({ what: 'claim' });
      if (!(error instanceof DatabaseUnavailableError))
        logger.error({ err: error }, 'webhooks cannot be served');
    }
  }

  #begin(delivery: ClaimedDelivery): void {
    const sending = this.#deliver(delivery).finally(() => {
      this.#inFlight.delete(delivery);
      this.#deps.metrics.inFlight.set(this.#inFlight.size);
      if (!this.#abort.signal.aborted) this.wake();
    });
    this.#inFlight.set(delivery, sending);
    this.#deps.metrics.inFlight.set(this.#inFlight.size);
  }

  async #deliver(delivery: ClaimedDelivery): Promise<void> {
    const { sender, database, metrics, logger } = this.#deps;
    const outcome = await sender.send(delivery, this.#abort.signal);
    const isAborted = outcome.error === 'aborted';
    const pauseMs = isAborted ? 0 : this.#settings.pausesMs[delivery.attempt - 1];
    const result =
      outcome.error === null ? 'delivered' : pauseMs === undefined ? 'given_up' : ('retried' as const);
    metrics.attempts.inc({ outcome: result });
    if (result !== 'delivered' && !isAborted) {
      const { webhookId, eventId, attempt } = delivery;
      logger.info({ webhookId, eventId, attempt, ...outcome, result }, 'a webhook did not take an event');
    }
    try {
      await database.run(({ sql }) => reportAttempt(sql, delivery, outcome, pauseMs));
    } catch (error) {
      // Then its lease ends, and it is sent again: told twice rather than not at all.
      metrics.failures.inc({ what: 'report' });
      if (!(error instanceof DatabaseUnavailableError))
        logger.error({ err: error }, 'a delivery cannot be reported on');
    }
  }
}
