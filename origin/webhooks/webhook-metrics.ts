import { Counter, Gauge } from 'prom-client';
import type { Metrics } from '#runtime/metrics.ts';

/** What is counted about webhooks. */
export class WebhookMetrics {
  readonly events: Counter<'type'>;
  readonly eventsLost: Counter<'reason'>;
  readonly attempts: Counter<'outcome'>;
  readonly pending: Gauge;
  readonly inFlight: Gauge;
  readonly failures: Counter<'what'>;

  constructor(metrics: Metrics) {
    const registers = [metrics];
    this.events = new Counter({
      name: 'origin_webhook_events_total',
      help: 'Events that this origin has seen, by type.',
      labelNames: ['type'],
      registers,
    });
    this.eventsLost = new Counter({
      name: 'origin_webhook_events_lost_total',
      help: 'Events that were not told: queue_full while the database was away, pending_full at a webhook that takes none.',
      labelNames: ['reason'],
      registers,
    });
    this.attempts = new Counter({
      name: 'origin_webhook_attempts_total',
      help: 'Attempts to tell a webhook of an event: delivered, retried or given_up.',
      labelNames: ['outcome'],
      registers,
    });
    this.pending = new Gauge({
      name: 'origin_webhook_deliveries_pending',
      help: 'Deliveries that wait, of all tenants and origins.',
      registers,
    });
    this.inFlight = new Gauge({
      name: 'origin_webhook_requests_active',
      help: 'Requests to webhooks that are under way here.',
      registers,
    });
    this.failures = new Counter({
      name: 'origin_webhook_upkeep_failures_total',
      help: 'Work on the webhooks’ tables that failed and is done again: store, claim, report, sweep.',
      labelNames: ['what'],
      registers,
    });
  }
}
