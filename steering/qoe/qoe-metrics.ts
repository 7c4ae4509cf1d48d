import { Counter, Gauge } from 'prom-client';
import type { Metrics } from '#runtime/metrics.ts';

/** Why something that viewers sent was not used. Bounded: also label values. */
export type QoeDrop =
  | 'cdn_unknown'
  | 'cohorts_full'
  | 'line_invalid'
  | 'line_too_long'
  | 'too_many_lines'
  | 'duplicate'
  | 'no_session'
  | 'says_nothing'
  | 'address_rate'
  | 'total_rate';

export type QoeMetrics = {
  observed(cdn: string, source: 'steering' | 'cmcd'): void;
  dropped(reason: QoeDrop): void;
  factor(cdn: string, factor: number): void;
  cohorts(count: number): void;
};

/** The figures of viewers' experience. */
export function createQoeMetrics(metrics: Metrics): QoeMetrics {
  const registers = [metrics];
  const observed = new Counter({
    name: 'steering_qoe_observations_total',
    help: 'Statements of players about a CDN',
    labelNames: ['cdn', 'source'],
    registers,
  });
  const dropped = new Counter({
    name: 'steering_qoe_dropped_total',
    help: 'What players sent and was not used',
    labelNames: ['reason'],
    registers,
  });
  const factor = new Gauge({
    name: 'steering_qoe_factor',
    help: 'What the experience of all its viewers makes of the weight of a CDN, 0.3 to 1',
    labelNames: ['cdn'],
    registers,
  });
  const cohorts = new Gauge({
    name: 'steering_qoe_cohorts',
    help: 'Cohorts of CDN and place that are kept',
    registers,
  });
  return {
    observed: (cdn, source) => observed.inc({ cdn, source }),
    dropped: (reason) => dropped.inc({ reason }),
    factor: (cdn, value) => factor.set({ cdn }, value),
    cohorts: (count) => cohorts.set(count),
  };
}
