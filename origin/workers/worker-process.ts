import { systemClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import type { Disposable } from '#runtime/lifecycle.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { startServingWorker } from '#origin/workers/serving-worker.ts';
import type { FromWorker, ToWorker } from '#origin/workers/worker-messages.ts';

/**
 * A serving worker: started by {@link ServingWorkers}, told everything over its IPC channel, gone with the main process.
 * Signals are for the main process; it closes its workers itself.
 */
const logger = createLogger('origin').child({ worker: process.pid });
const metrics = createMetrics('origin');
let worker: Disposable | undefined;
const tell = (message: FromWorker): void => void process.send?.(message);

process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
process.on('disconnect', () => process.exit(0));
process.on('message', (message: ToWorker) => {
  switch (message.do) {
    case 'start': {
      const { settings } = message;
      logger.level = settings.LOG_LEVEL;
      void startServingWorker(settings, message, { clock: systemClock, logger, metrics }).then(
        (started) => {
          worker = started;
          tell({ is: 'serving', port: started.port });
        },
        (error: unknown) =>
          tell({ is: 'failed', message: error instanceof Error ? error.message : 'failed' }),
      );
      return;
    }
    case 'metrics':
      void metrics
        .getMetricsAsJSON()
        .then((json) => tell({ is: 'metrics', request: message.request, metrics: json }));
      return;
    case 'close':
      void (worker?.close() ?? Promise.resolve()).then(() => process.exit(0));
  }
});
