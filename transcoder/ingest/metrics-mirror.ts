import { Counter, type Gauge } from 'prom-client';
import type { IngestMetrics } from './ingest-metrics.ts';
import type { MetricSample } from './ipc-messages.ts';

/** The present values of all metrics, to be sent to the supervisor. */
export async function sampleMetrics(metrics: IngestMetrics): Promise<MetricSample[]> {
  const samples: MetricSample[] = [];
  for (const [metric, instrument] of Object.entries<Counter | Gauge>(metrics)) {
    const { values } = await instrument.get();
    samples.push({
      metric,
      values: values.map(({ labels, value }) => ({ labels: definedLabels(labels), value })),
    });
  }
  return samples;
}

function definedLabels(labels: Partial<Record<string, string | number>>): Record<string, string | number> {
  const defined: Record<string, string | number> = {};
  for (const [name, value] of Object.entries(labels)) if (value !== undefined) defined[name] = value;
  return defined;
}

/**
 * Copies the metrics of ingest processes into the supervisor's. Counters go on counting when a process is replaced by
 * another that begins at 0; gauges go to 0 with their process.
 */
export class MetricsMirror {
  readonly #metrics: IngestMetrics;
  readonly #counted = new Map<string, number>();

  constructor(metrics: IngestMetrics) {
    this.#metrics = metrics;
  }

  /** Takes the values of the process that runs now. */
  apply(samples: readonly MetricSample[]): void {
    const instruments: Readonly<Record<string, Counter | Gauge>> = this.#metrics;
    for (const { metric, values } of samples) {
      const instrument = instruments[metric];
      if (instrument === undefined) continue;
      for (const { labels, value } of values) {
        if (instrument instanceof Counter) this.#count(metric, instrument, labels, value);
        else instrument.set(labels, value);
      }
    }
  }

  /** Forgets the process: the next one counts from 0. */
  processEnded(): void {
    this.#counted.clear();
    for (const instrument of Object.values<Counter | Gauge>(this.#metrics))
      if (!(instrument instanceof Counter)) instrument.reset();
  }

  #count(metric: string, counter: Counter, labels: Record<string, string | number>, value: number): void {
    const key = `${metric} ${JSON.stringify(labels)}`;
    const increase = value - (this.#counted.get(key) ?? 0);
    if (increase > 0) counter.inc(labels, increase);
    this.#counted.set(key, value);
  }
}
