import { Counter, Gauge, Histogram } from 'prom-client';
import type { Metrics } from '#runtime/metrics.ts';
import { PROBE_STAGES, type ProbeSample } from '#steering/probe/probe-sample.ts';

/** Why a probe that was due did not take place. */
export type ProbeSkip = 'budget' | 'overlap';

/** The figures of the prober; `cdn` is bounded by the registry, everything else by closed lists of words. */
export type ProbeMetrics = {
  sample(sample: ProbeSample): void;
  skipped(reason: ProbeSkip, probes: number): void;
  inFlight(probes: number): void;
  streams(live: number, perRound: number): void;
  forget(cdn: string): void;
};

export function createProbeMetrics(metrics: Metrics): ProbeMetrics {
  const registers = [metrics];
  const durations = new Histogram({
    name: 'steering_probe_duration_seconds',
    help: 'Time of the stages of a probe: until connected, until the first byte, for parts until the last byte',
    labelNames: ['cdn', 'stage'],
    buckets: [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5],
    registers,
  });
  const results = new Counter({
    name: 'steering_probe_results_total',
    help: 'Probes by what they found: ok, the worst reason, or why nothing could be said',
    labelNames: ['cdn', 'reason'],
    registers,
  });
  const goodput = new Gauge({
    name: 'steering_probe_goodput_bps',
    help: 'Goodput of the last part fetched, bits per second',
    labelNames: ['cdn'],
    registers,
  });
  const skipped = new Counter({
    name: 'steering_probe_skipped_total',
    help: 'Probes that were due and did not take place',
    labelNames: ['reason'],
    registers,
  });
  const inFlight = new Gauge({ name: 'steering_probes_in_flight', help: 'Probes under way', registers });
  const live = new Gauge({
    name: 'steering_probe_live_streams',
    help: 'Streams to choose from',
    registers,
  });
  const perRound = new Gauge({
    name: 'steering_probe_streams_per_round',
    help: 'Streams that a round of probes of one CDN takes within the budget',
    registers,
  });
  const seen = new Map<string, Set<string>>();
  return {
    sample: ({ cdn, verdict, reasons, stagesMs, goodputBps, unjudgedBecause }) => {
      for (const [stage, ms] of Object.entries(stagesMs)) durations.observe({ cdn, stage }, ms / 1_000);
      const reason = verdict === 'unjudged' ? (unjudgedBecause ?? 'aborted') : (reasons[0] ?? 'ok');
      results.inc({ cdn, reason });
      if (goodputBps !== undefined) goodput.set({ cdn }, goodputBps);
      seen.set(cdn, (seen.get(cdn) ?? new Set()).add(reason));
    },
    skipped: (reason, probes) => skipped.inc({ reason }, probes),
    inFlight: (probes) => inFlight.set(probes),
    streams: (count, round) => {
      live.set(count);
      perRound.set(round);
    },
    forget: (cdn) => {
      for (const reason of seen.get(cdn) ?? []) results.remove({ cdn, reason });
      seen.delete(cdn);
      goodput.remove({ cdn });
      for (const stage of PROBE_STAGES) durations.remove({ cdn, stage });
    },
  };
}
