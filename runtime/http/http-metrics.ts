import { Counter, Gauge } from 'prom-client';
import type { Metrics } from '#runtime/metrics.ts';

/** What a server counts about its connections, whatever is asked over them. Labels are closed lists of words. */
export class HttpMetrics {
  readonly connections: Gauge;
  readonly refused: Counter<'reason'>;
  readonly clientErrors: Counter<'code'>;
  readonly slowReaders: Counter;

  constructor(registry: Metrics) {
    const registers = [registry];
    this.connections = new Gauge({ name: 'http_connections', help: 'Open connections.', registers });
    this.refused = new Counter({
      name: 'http_connections_refused_total',
      help: 'Connections closed at once: all (too many in all), address (too many of one address).',
      labelNames: ['reason'],
      registers,
    });
    this.clientErrors = new Counter({
      name: 'http_client_errors_total',
      help: 'Requests that were none, by problem code: request_timeout, headers_too_large, request_malformed, url_too_long.',
      labelNames: ['code'],
      registers,
    });
    this.slowReaders = new Counter({
      name: 'http_slow_readers_total',
      help: 'Connections closed because their client took an answer too slowly.',
      registers,
    });
  }
}
