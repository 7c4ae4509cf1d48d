import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { createIngestMetrics } from './ingest-metrics.ts';
import { MetricsMirror, sampleMetrics } from './metrics-mirror.ts';

const lineOf = async (registry: Registry, start: string): Promise<string | undefined> =>
  (await registry.metrics()).split('\n').find((line) => line.startsWith(start));

describe('the metrics of the ingest process in its supervisor', () => {
  it('are what the process counted, and go on over its replacement', async () => {
    const registry = new Registry();
    const mirror = new MetricsMirror(createIngestMetrics(registry));

    const first = createIngestMetrics(new Registry());
    first.connectionsClosed.inc({ reason: 'handshake_timeout' }, 3);
    first.publishes.set(2);
    mirror.apply(await sampleMetrics(first));
    first.connectionsClosed.inc({ reason: 'handshake_timeout' });
    mirror.apply(await sampleMetrics(first));
    expect(await lineOf(registry, 'ingest_rtmp_connections_closed_total{')).toBe(
      'ingest_rtmp_connections_closed_total{reason="handshake_timeout"} 4',
    );
    expect(await lineOf(registry, 'ingest_publishes ')).toBe('ingest_publishes 2');

    mirror.processEnded();
    expect(await lineOf(registry, 'ingest_publishes ')).toBe('ingest_publishes 0');

    const second = createIngestMetrics(new Registry());
    second.connectionsClosed.inc({ reason: 'handshake_timeout' }, 2);
    mirror.apply(await sampleMetrics(second));
    expect(await lineOf(registry, 'ingest_rtmp_connections_closed_total{')).toBe(
      'ingest_rtmp_connections_closed_total{reason="handshake_timeout"} 6',
    );
  });

  it('are not what a process calls by an unknown name', async () => {
    const registry = new Registry();
    new MetricsMirror(createIngestMetrics(registry)).apply([
      { metric: 'no such metric', values: [{ labels: {}, value: 1 }] },
    ]);
    expect(await registry.metrics()).not.toContain('no such metric');
  });
});
