import { rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { systemClock } from '#runtime/clock.ts';
import { createLogger, type Logger } from '#runtime/log.ts';
import { Registry } from 'prom-client';
import { createIngestMetrics } from './ingest-metrics.ts';
import { startIngestNode, type IngestNode } from './ingest-node.ts';
import {
  CRASH_EXIT_STATUS,
  METRICS_INTERVAL_MS,
  ToIngestMessage,
  type FromIngestMessage,
} from './ipc-messages.ts';
import { sampleMetrics } from './metrics-mirror.ts';

// The ingest process. Started by IngestSupervisor; everything it needs comes over IPC, so that no secret is in its
// arguments or environment.

/** Longest time a stop may take; the supervisor waits longer. */
const STOP_DEADLINE_MS = 3_000;

const metrics = createIngestMetrics(new Registry());
let logger: Logger = createLogger('ingest');
let starting: Promise<IngestNode> | undefined;
let isStopping = false;

process.on('uncaughtException', (error) => crash(error));
process.on('unhandledRejection', (error) => crash(error));
// Ctrl-C reaches the whole process group, a stop by systemd or timeout(1) too; the supervisor says when to stop, and its
// own end ends the connection to it.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
process.on('disconnect', () => void stop());
process.on('message', (raw) => {
  const message = ToIngestMessage.parse(raw);
  if (message.type === 'stop') void stop();
  else void start(message);
});

async function start(message: ToIngestMessage & { type: 'start' }): Promise<void> {
  logger = createLogger('ingest', message.logLevel);
  process.once('exit', () => rmSync(dirname(message.relayPath), { recursive: true, force: true }));
  starting = startIngestNode(message.settings, message.relayPath, {
    clock: systemClock,
    logger,
    metrics,
    onPublishStarted: (grant) => tell({ type: 'publish-started', grant }),
    onPublishEnded: (sessionId, reason) => tell({ type: 'publish-ended', sessionId, reason }),
  });
  try {
    const node = await starting;
    tell({ type: 'ready', rtmpPort: node.rtmpPort });
    setInterval(() => void report(node), METRICS_INTERVAL_MS).unref();
  } catch (error) {
    const { message: text } = error as Error;
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'ingest_start_failed';
    tell({ type: 'start-failed', code, message: text }, () => process.exit(1));
  }
}

async function report(node: IngestNode): Promise<void> {
  node.measure();
  tell({ type: 'metrics', samples: await sampleMetrics(metrics) });
}

async function stop(): Promise<void> {
  if (isStopping) return;
  isStopping = true;
  setTimeout(() => process.exit(0), STOP_DEADLINE_MS).unref();
  try {
    const node = await starting;
    await node?.close();
  } catch (error) {
    logger.error({ err: error }, 'could not close cleanly');
  }
  if (process.connected)
    tell({ type: 'metrics', samples: await sampleMetrics(metrics) }, () => process.exit(0));
  else process.exit(0);
}

function tell(message: FromIngestMessage, sent?: () => void): void {
  // When the supervisor is gone there is nobody to tell; the `disconnect` event ends the process.
  if (process.connected && process.send !== undefined) process.send(message, undefined, {}, () => sent?.());
  else sent?.();
}

/** The last resort: nothing should come here. The supervisor counts it and starts a new process. */
function crash(error: unknown): void {
  logger.fatal({ err: error }, 'an error that nothing caught; the ingest process ends');
  process.exit(CRASH_EXIT_STATUS);
}
