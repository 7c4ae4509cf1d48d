import { systemClock } from '#runtime/clock.ts';
import { runUntilSignal } from '#runtime/lifecycle.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { createSteering } from '#steering/service.ts';
import { readSteeringSettings } from '#steering/settings.ts';

const logger = createLogger('steering');
await runUntilSignal(logger, () => {
  const settings = readSteeringSettings(process.env);
  logger.level = settings.LOG_LEVEL;
  return createSteering(settings, { clock: systemClock, logger, metrics: createMetrics('steering') });
});
