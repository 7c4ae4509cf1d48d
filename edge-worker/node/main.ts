import { createEdge } from '#edge-worker/node/service.ts';
import { readEdgeNodeSettings } from '#edge-worker/node/edge-node-settings.ts';
import { systemClock } from '#runtime/clock.ts';
import { runUntilSignal } from '#runtime/lifecycle.ts';
import { createLogger } from '#runtime/log.ts';

const logger = createLogger('edge');
await runUntilSignal(logger, () => {
  const settings = readEdgeNodeSettings(process.env);
  logger.level = settings.LOG_LEVEL;
  return createEdge(settings, { clock: systemClock, logger });
});
