import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Registry, type Counter } from 'prom-client';
import { systemClock } from '#runtime/clock.ts';
import type { IngestPacket, PublishEnd } from '#transcoder/ingest/incoming-publish.ts';
import { createIngestMetrics, type IngestMetrics } from '#transcoder/ingest/ingest-metrics.ts';
import { startIngestNode, type IngestNode } from '#transcoder/ingest/ingest-node.ts';
import { DEFAULT_INGEST_LIMITS, type IngestLimits } from '#transcoder/ingest/ingest-settings.ts';
import { readRelay } from '#transcoder/ingest/relay-reader.ts';
import { PublishOrigin } from './publish-origin.ts';
import { waitFor } from './wait-for.ts';

/** An ingest in the test's own process, with an origin double behind it. */
export type IngestUnderTest = {
  readonly origin: PublishOrigin;
  readonly metrics: IngestMetrics;
  readonly node: IngestNode;
  readonly port: number;
  readonly relayPath: string;
  /** Session ids in the order in which they began. */
  readonly started: string[];
  readonly ended: Map<string, PublishEnd>;
  /** Everything that was logged, as text. */
  logText(): string;
  /** Waits until a connection has ended for this reason; resolves with how many have. */
  connectionClosed(reason: string, deadlineMs?: number): Promise<number>;
  /** Waits until the nth publish has ended. */
  publishEnded(index?: number): Promise<PublishEnd>;
  /** Reads the packets of the nth publish; the list grows while they come. */
  read(
    index?: number,
    signal?: AbortSignal,
  ): { packets: IngestPacket[]; done: Promise<PublishEnd | undefined> };
  close(): Promise<void>;
};

/** Starts one on free ports. */
export async function startIngest(
  change: Partial<IngestLimits> = {},
  keys: readonly string[] = ['key'],
): Promise<IngestUnderTest> {
  const origin = await PublishOrigin.start(keys);
  const directory = await mkdtemp(join(tmpdir(), 'ingest-test-'));
  const relayPath = join(directory, 'relay.sock');
  const metrics = createIngestMetrics(new Registry());
  const started: string[] = [];
  const ended = new Map<string, PublishEnd>();
  let logText = '';
  const logger = pino({ level: 'debug' }, { write: (line: string) => (logText += line) });
  const limits = { ...DEFAULT_INGEST_LIMITS, ...change };
  const node = await startIngestNode(
    { rtmpPort: 0, rtmpHost: '127.0.0.1', originUrls: [origin.url], ingestToken: origin.token, limits },
    relayPath,
    {
      clock: systemClock,
      logger,
      metrics,
      onPublishStarted: (grant) => started.push(grant.sessionId),
      onPublishEnded: (sessionId, reason) => ended.set(sessionId, reason),
    },
  );
  return {
    origin,
    metrics,
    node,
    port: node.rtmpPort,
    relayPath,
    started,
    ended,
    logText: () => logText,
    connectionClosed: (reason, deadlineMs = 5_000) => {
      const count = async (): Promise<number | false> =>
        (await valueOf(metrics.connectionsClosed, { reason })) || false;
      return waitFor(`a connection closed by ${reason}`, count, { deadlineMs });
    },
    publishEnded: (index = 0) =>
      waitFor(`the end of publish ${index}`, () => ended.get(started[index] ?? '')),
    read: (index = 0, signal = new AbortController().signal) => {
      const packets: IngestPacket[] = [];
      const done = collect(relayPath, started[index] ?? '', signal, packets);
      // Most tests look at the packets only and end the ingest while they are being read.
      done.catch(() => undefined);
      return { packets, done };
    },
    close: async () => {
      await node.close();
      await origin.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function collect(
  relayPath: string,
  sessionId: string,
  signal: AbortSignal,
  packets: IngestPacket[],
): Promise<PublishEnd | undefined> {
  const reader = readRelay(relayPath, sessionId, signal);
  for (;;) {
    const next = await reader.next();
    if (next.done === true) return next.value;
    packets.push(next.value);
  }
}

/** The value of a counter with these labels, 0 when it was never counted. */
export async function valueOf(counter: Counter, labels: Readonly<Record<string, string>>): Promise<number> {
  const { values } = await counter.get();
  const found = values.find((value) =>
    Object.entries(labels).every(([name, text]) => value.labels[name] === text),
  );
  return found?.value ?? 0;
}
