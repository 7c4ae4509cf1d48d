import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { PublishGrant } from '#protocol/ingest/publish-session.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import { OriginClient } from '#transcoder/origin-client.ts';
import type { PublishEnd } from './incoming-publish.ts';
import type { IngestMetrics } from './ingest-metrics.ts';
import type { IngestSettings } from './ingest-settings.ts';
import { PublishRegistry } from './publish-registry.ts';
import { RelayServer } from './relay-server.ts';
import { RtmpServer } from './rtmp-server.ts';

export type IngestNodeDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: IngestMetrics;
  /** Called for every broadcaster that the origin has accepted, before its first packet. */
  readonly onPublishStarted: (grant: PublishGrant) => void;
  readonly onPublishEnded: (sessionId: string, reason: PublishEnd) => void;
};

/** A running ingest. */
export type IngestNode = {
  readonly rtmpPort: number;
  /** Brings the gauges up to date. */
  measure(): void;
  /** Ends every connection and publish, and tells the origin. */
  close(): Promise<void>;
};

const NANOSECONDS_PER_SECOND = 1e9;

/**
 * Builds and starts an ingest: the RTMP port, the relay on `relayPath`, the client to the origin.
 *
 * @throws {RtmpListenError} when the RTMP port cannot be had
 */
export async function startIngestNode(
  settings: IngestSettings,
  relayPath: string,
  deps: IngestNodeDeps,
): Promise<IngestNode> {
  const { clock, logger, metrics, onPublishStarted, onPublishEnded } = deps;
  const { limits } = settings;
  const origin = new OriginClient({
    ...limits,
    originUrls: settings.originUrls,
    ingestToken: settings.ingestToken,
  });
  const publishes = new PublishRegistry(limits, {
    clock,
    logger,
    metrics,
    origin,
    onStarted: onPublishStarted,
    onEnded: onPublishEnded,
  });
  const relay = new RelayServer({
    clock,
    metrics,
    readersMax: limits.readersMax,
    find: (sessionId) => publishes.find(sessionId),
  });
  const rtmp = new RtmpServer(limits, { clock, logger, metrics, publishes });
  await relay.listen(relayPath);
  let rtmpPort: number;
  try {
    rtmpPort = await rtmp.listen(settings.rtmpHost, settings.rtmpPort);
  } catch (error) {
    await Promise.all([relay.close(), origin.close()]);
    throw error;
  }
  const loopDelay = monitorEventLoopDelay({ resolution: 20 });
  loopDelay.enable();
  return {
    rtmpPort,
    measure: () => {
      metrics.backlogBytes.set(publishes.backlogBytes);
      metrics.residentBytes.set(process.memoryUsage.rss());
      metrics.eventLoopDelaySeconds.set(loopDelay.max / NANOSECONDS_PER_SECOND);
      loopDelay.reset();
    },
    close: async () => {
      loopDelay.disable();
      await rtmp.close();
      await Promise.all([publishes.close(), relay.close()]);
      await origin.close();
    },
  };
}
