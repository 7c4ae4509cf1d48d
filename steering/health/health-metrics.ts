import { Counter, Gauge } from 'prom-client';
import type { Metrics } from '#runtime/metrics.ts';
import type { CdnState } from '#steering/health/cdn-health.ts';

const STATES: readonly CdnState[] = ['healthy', 'suspect', 'ejected', 'ramping', 'unknown'];

/** The figures of the health monitor; the label `cdn` is bounded by the registry of CDNs. */
export type HealthMetrics = {
  show(cdn: string, factor: number, state: CdnState): void;
  ejected(cdn: string): void;
  panic(on: boolean): void;
  /** Takes away the series of a CDN that is gone. */
  forget(cdn: string): void;
};

export function createHealthMetrics(metrics: Metrics): HealthMetrics {
  const factors = new Gauge({
    name: 'steering_cdn_health_factor',
    help: 'What health makes of the weight of a CDN, 0 to 1',
    labelNames: ['cdn'],
    registers: [metrics],
  });
  const states = new Gauge({
    name: 'steering_cdn_state',
    help: '1 for the state a CDN is in, 0 for the others',
    labelNames: ['cdn', 'state'],
    registers: [metrics],
  });
  const ejections = new Counter({
    name: 'steering_cdn_ejections_total',
    help: 'How often a CDN has fallen',
    labelNames: ['cdn'],
    registers: [metrics],
  });
  const panic = new Gauge({
    name: 'steering_health_panic',
    help: '1 while every CDN has fallen and health is ignored',
    registers: [metrics],
  });
  return {
    show: (cdn, factor, state) => {
      factors.set({ cdn }, factor);
      for (const each of STATES) states.set({ cdn, state: each }, each === state ? 1 : 0);
    },
    ejected: (cdn) => ejections.inc({ cdn }),
    panic: (on) => panic.set(on ? 1 : 0),
    forget: (cdn) => {
      factors.remove({ cdn });
      ejections.remove({ cdn });
      for (const state of STATES) states.remove({ cdn, state });
    },
  };
}
