import { join } from 'node:path';
import type { Clock } from '#runtime/clock.ts';
import type { DisposableStack } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { openObjectStore } from '#runtime/objects/open-object-store.ts';
import { Recorder } from '#origin/recording/recorder.ts';
import { RecordingMetrics } from '#origin/recording/recording-metrics.ts';
import { DEFAULT_RECORDING_SETTINGS } from '#origin/recording/recording-settings.ts';
import { Spool } from '#origin/recording/spool.ts';
import type { OriginSettings } from '#origin/settings.ts';

const MIB = 1024 * 1024;

/**
 * Opens the object store and the spool that the settings say. The recorder takes segments from now on; it has yet to be
 * started with a database.
 *
 * @param started takes what is to be closed
 * @throws when a folder cannot be made
 */
export async function openRecorder(
  settings: OriginSettings,
  deps: { readonly clock: Clock; readonly logger: Logger; readonly metrics: Metrics },
  started: DisposableStack,
): Promise<Recorder> {
  const { clock, logger } = deps;
  const metrics = new RecordingMetrics(deps.metrics);
  const limits = {
    ...DEFAULT_RECORDING_SETTINGS,
    queueBytesMax: settings.RECORDING_QUEUE_MIB * MIB,
    spoolBytesMax: settings.RECORDING_SPOOL_MIB * MIB,
    queueAgeMaxMs: settings.RECORDING_QUEUE_AGE_S * 1_000,
    cacheBytesMax: settings.RECORDING_CACHE_MIB * MIB,
  };
  const store = await openObjectStore(
    settings.S3_BUCKET === ''
      ? { folder: settings.OBJECT_STORE === '' ? join(settings.DATA_DIR, 'objects') : settings.OBJECT_STORE }
      : {
          s3: {
            endpoint: settings.S3_ENDPOINT,
            bucket: settings.S3_BUCKET,
            region: settings.S3_REGION,
            accessKeyId: settings.S3_ACCESS_KEY_ID,
            secretAccessKey: settings.S3_SECRET_ACCESS_KEY,
          },
        },
  );
  started.add('object store', store, () => store.close());
  const spool = await Spool.open(join(settings.DATA_DIR, 'spool'), limits, {
    logger: logger.child({ subsystem: 'recording' }),
    metrics,
  });
  const isShared = settings.ORIGIN_NODE_URL !== '';
  return new Recorder(limits, { store, spool, clock, logger, metrics, isShared });
}
