import { systemClock } from '#runtime/clock.ts';
import { runUntilSignal } from '#runtime/lifecycle.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { createTranscoder } from '#transcoder/service.ts';
import { readTranscoderSettings } from '#transcoder/settings.ts';

const logger = createLogger('transcoder');
await runUntilSignal(logger, () => {
  const settings = readTranscoderSettings(process.env);
  // Children inherit the environment: none of them needs the token from there.
  delete process.env['INGEST_TOKEN'];
  logger.level = settings.LOG_LEVEL;
  return createTranscoder(settings, {
    clock: systemClock,
    logger,
    metrics: createMetrics('transcoder'),
  });
});
