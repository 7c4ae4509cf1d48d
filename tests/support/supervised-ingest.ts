import { readFileSync } from 'node:fs';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { systemClock } from '#runtime/clock.ts';
import type { IncomingPublish, IngestPacket } from '#transcoder/ingest/incoming-publish.ts';
import { DEFAULT_INGEST_LIMITS, type IngestLimits } from '#transcoder/ingest/ingest-settings.ts';
import { IngestSupervisor } from '#transcoder/ingest/ingest-supervisor.ts';
import { PublishOrigin } from './publish-origin.ts';
import { waitFor } from './wait-for.ts';

/** The packets of a publish; the list grows while they come. */
export type ReadPublish = {
  readonly publish: IncomingPublish;
  readonly packets: IngestPacket[];
  /** Resolves at the end of the packets. */
  readonly done: Promise<void>;
};

/** The ingest as a service has it: a supervised child process, with an origin double behind it. */
export type SupervisedIngest = {
  readonly supervisor: IngestSupervisor;
  readonly origin: PublishOrigin;
  readonly rtmpPort: number;
  /** Publishes in the order in which they began. */
  readonly publishes: IncomingPublish[];
  /** Waits for the nth publish and reads it from then on. */
  read(index: number): Promise<ReadPublish>;
  /** The sum of a metric over the labels not given. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>;
  /** Resident memory of the child now. */
  residentBytes(): number;
  close(): Promise<void>;
};

const PAGE_BYTES = 4_096;

/** Starts one on free ports; its log is not kept. */
export async function startSupervisedIngest(
  change: Partial<IngestLimits> = {},
  keys: readonly string[] = ['key'],
): Promise<SupervisedIngest> {
  const origin = await PublishOrigin.start(keys);
  const registry = new Registry();
  const supervisor = new IngestSupervisor(
    {
      rtmpPort: 0,
      rtmpHost: '127.0.0.1',
      originUrls: [origin.url],
      ingestToken: origin.token,
      limits: { ...DEFAULT_INGEST_LIMITS, ...change },
    },
    { clock: systemClock, logger: pino({ level: 'silent' }), metrics: registry },
  );
  const publishes: IncomingPublish[] = [];
  supervisor.onPublish((publish) => publishes.push(publish));
  const { rtmpPort } = await supervisor.start();
  return {
    supervisor,
    origin,
    rtmpPort,
    publishes,
    read: async (index) => {
      const publish = await waitFor(`publish ${index}`, () => publishes[index]);
      const packets: IngestPacket[] = [];
      const collect = async (): Promise<void> => {
        for await (const packet of publish.packets(new AbortController().signal)) packets.push(packet);
      };
      return { publish, packets, done: collect() };
    },
    metric: async (name, labels = {}) => {
      const metrics = await registry.getMetricsAsJSON();
      const values = metrics.find((metric) => metric.name === name)?.values ?? [];
      const matching = values.filter((value) =>
        Object.entries(labels).every(([label, text]) => value.labels[label] === text),
      );
      return matching.reduce((sum, { value }) => sum + value, 0);
    },
    residentBytes: () => {
      const statm = readFileSync(`/proc/${supervisor.processId}/statm`, 'utf8');
      return Number(statm.split(' ')[1]) * PAGE_BYTES;
    },
    close: async () => {
      await supervisor.close();
      await origin.close();
    },
  };
}
