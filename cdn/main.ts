import { resolve } from 'node:path';
import { startCdn } from '#cdn/cdn-process.ts';
import { readCdnSettings } from '#cdn/settings.ts';
import { runUntilSignal } from '#runtime/lifecycle.ts';
import { createLogger } from '#runtime/log.ts';

const logger = createLogger('cdn');
await runUntilSignal(logger, async () => {
  const settings = readCdnSettings(process.env);
  logger.level = settings.LOG_LEVEL;
  const cdn = await startCdn(settings.CDN_KIND, {
    originUrls: settings.CDN_ORIGIN_URLS,
    host: settings.CDN_HOST,
    port: settings.CDN_PORT,
    folder: resolve(settings.CDN_FOLDER),
    holdMaxS: settings.CDN_HOLD_MAX_S,
    workers: settings.CDN_WORKERS,
    cacheMib: settings.CDN_CACHE_MIB,
    pullToken: settings.CDN_PULL_TOKEN,
    accessLog: settings.CDN_ACCESS_LOG,
  });
  logger.info({ kind: cdn.kind, url: cdn.url }, 'serving');
  void cdn.ended.then((how) => {
    // Whoever started this process starts it again, with an empty cache.
    logger.error({ how }, 'the cache has ended');
    process.kill(process.pid, 'SIGTERM');
  });
  return cdn;
});
