import type { Clock, Timer } from '#runtime/clock.ts';
import type { Disposable } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { HealthHistory, HealthView } from '#steering/health/cdn-health.ts';
import { HealthMonitor } from '#steering/health/health-monitor.ts';
import { rulesFor, type HealthSettings } from '#steering/health/health-settings.ts';
import { probeCdn } from '#steering/probe/cdn-probe.ts';
import { OriginReference } from '#steering/probe/origin-reference.ts';
import { createProbeMetrics } from '#steering/probe/probe-metrics.ts';
import { ProbePasses } from '#steering/probe/probe-passes.ts';
import { ProbeScheduler, type ScheduledCdn } from '#steering/probe/probe-scheduler.ts';
import { createNameResolver } from '#runtime/outbound/resolve-name.ts';
import { TargetGuard, type ResolveName } from '#runtime/outbound/target-guard.ts';
import type { CdnDirectory } from '#steering/registry/cdn.ts';

/** What viewers report, as far as health needs it. */
export type ExperienceView = {
  /** 0…1; 1 while nothing speaks against the CDN. */
  factor(cdn: string): number;
  onChange(listener: () => void): () => void;
};

export type HealthDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly directory: CdnDirectory;
  /** Ids of the streams that are live now; asked many times a second, so it must not wait. */
  readonly liveStreams: () => readonly string[];
  /** How probes get into protected streams; without it they look as viewers without a token do. */
  readonly passes?: ProbePasses;
  readonly experience: ExperienceView;
  /** Told the lowest rung of a stream whenever its playlist was read at the origin. */
  readonly learnLowestRung?: (streamId: string, bandwidthBps: number) => void;
  /** For tests; otherwise DNS. */
  readonly resolve?: ResolveName;
  /** For tests; otherwise `Math.random`. */
  readonly random?: () => number;
  /** Certificates to trust instead of the system's, PEM. */
  readonly ca?: string;
};

/** Running probes and what is believed because of them. */
export type Health = Disposable & HealthView & HealthHistory & { readonly panic: boolean };

const REFRESH_MS = 1_000;

/**
 * Starts probing the CDNs of the directory and judging them.
 *
 * @param options.originUrls base URLs of the origins, the reference of every probe
 */
export function createHealth(
  settings: HealthSettings,
  options: { readonly originUrls: readonly string[] },
  deps: HealthDeps,
): Health {
  const { clock, directory } = deps;
  const logger = deps.logger.child({ subsystem: 'health' });
  const monitor = new HealthMonitor(
    { ejectedShareMax: settings.STEERING_HEALTH_EJECTED_PERCENT_MAX / 100 },
    { clock, logger, metrics: deps.metrics, experience: (cdn) => deps.experience.factor(cdn) },
  );
  let scheduled: readonly ScheduledCdn[] = [];
  const takeCdns = (): void => {
    const cdns = directory.list();
    monitor.setCdns(
      cdns.map(({ name, baseUrl, enabled, probe }) => ({
        name,
        baseUrl,
        enabled,
        rules: rulesFor(settings, definedOnly(probe)),
      })),
    );
    scheduled = cdns
      .filter(({ probe }) => probe.enabled)
      .map(({ name, baseUrl, probe }) => ({
        cdn: name,
        baseUrl,
        intervalMs: probe.intervalMs ?? settings.STEERING_PROBE_INTERVAL_MS,
        firstByteDeadlineMs: probe.timeoutMs ?? settings.STEERING_PROBE_TIMEOUT_MS,
      }));
  };
  takeCdns();
  const ends = [directory.onChange(takeCdns), deps.experience.onChange(() => monitor.refresh())];

  const resolve = deps.resolve ?? createNameResolver({ clock });
  const guard = new TargetGuard(settings.STEERING_PROBE_ALLOWED_TARGETS);
  const passes = deps.passes ?? new ProbePasses(undefined, () => false, clock);
  const reference = new OriginReference(options.originUrls, { clock, resolve, logger, passes });
  const probeDeps = { clock, guard, resolve, ...(deps.ca === undefined ? {} : { ca: deps.ca }) };
  const scheduler = new ProbeScheduler(
    {
      probesPerSecondMax: settings.STEERING_PROBE_PER_SECOND_MAX,
      streamsPerRoundMax: settings.STEERING_PROBE_STREAMS_PER_ROUND,
    },
    {
      clock,
      logger,
      metrics: createProbeMetrics(deps.metrics),
      random: deps.random ?? Math.random,
      cdns: () => (settings.STEERING_PROBE_ENABLED ? scheduled : []),
      liveStreams: deps.liveStreams,
      takeReference: async (streamId, round, signal) => {
        const taken = await reference.take(streamId, round, signal);
        deps.learnLowestRung?.(streamId, taken.lowestBandwidthBps);
        return taken;
      },
      probe: (target, round, turn, signal) => probeCdn(target, round, turn, probeDeps, signal),
      troubled: (cdn) => monitor.troubledStreams(cdn),
      report: (cdn, samples, watched) => monitor.report(cdn, samples, watched),
    },
  );

  let timer: Timer;
  const refresh = (): void => {
    monitor.refresh();
    timer = clock.after(REFRESH_MS, refresh);
  };
  timer = clock.after(REFRESH_MS, refresh);

  return {
    get: (cdn, streamId) => monitor.get(cdn, streamId),
    history: (cdn) => monitor.history(cdn),
    onChange: (listener) => monitor.onChange(listener),
    get generation() {
      return monitor.generation;
    },
    get panic() {
      return monitor.panic;
    },
    close: async () => {
      timer.cancel();
      for (const end of ends) end();
      await scheduler.close();
    },
  };
}

/** Optional fields that are `undefined` are not there at all, as exact optional types want it. */
function definedOnly(probe: {
  readonly intervalMs?: number | undefined;
  readonly fall?: number | undefined;
  readonly rise?: number | undefined;
}): { intervalMs?: number; fall?: number; rise?: number } {
  return {
    ...(probe.intervalMs === undefined ? {} : { intervalMs: probe.intervalMs }),
    ...(probe.fall === undefined ? {} : { fall: probe.fall }),
    ...(probe.rise === undefined ? {} : { rise: probe.rise }),
  };
}
