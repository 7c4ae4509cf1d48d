import { systemClock } from '#runtime/clock.ts';
import { runUntilSignal } from '#runtime/lifecycle.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { createOrigin } from '#origin/service.ts';
import { readOriginSettings } from '#origin/settings.ts';

const logger = createLogger('origin');
await runUntilSignal(logger, () => {
  const settings = readOriginSettings(process.env);
  logger.level = settings.LOG_LEVEL;
  return createOrigin(settings, { clock: systemClock, logger, metrics: createMetrics('origin') });
});
