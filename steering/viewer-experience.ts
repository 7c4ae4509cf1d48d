import type { Hono } from 'hono';
import type { Clock } from '#runtime/clock.ts';
import type { DisposableStack } from '#runtime/lifecycle.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { SteeringObservation } from '#steering/answers/steering-answers.ts';
import {
  peerAddress,
  viewerAddress,
  viewerOrigin,
  type TrustedHeaders,
} from '#steering/answers/viewer-origin.ts';
import { createCmcdRoutes } from '#steering/qoe/cmcd-routes.ts';
import { Qoe } from '#steering/qoe/qoe.ts';
import { RecentMap } from '#steering/qoe/recent-map.ts';
import type { CdnDirectory } from '#steering/registry/cdn.ts';

export type ViewerExperienceDeps = {
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly directory: CdnDirectory;
  readonly trusted: TrustedHeaders;
  /** `undefined`: logs of CDNs are refused. */
  readonly logToken: string | undefined;
};

/** How viewers fare, from steering requests and CMCD: what the answers and `POST /cmcd` feed, and health reads. */
export type ViewerExperience = {
  readonly qoe: Qoe;
  readonly routes: Hono;
  readonly observe: (observation: SteeringObservation) => void;
  /** Takes BANDWIDTH of the lowest rung of a stream, as the origin's playlist has it: what throughput is held against. */
  readonly learnLowestRung: (streamId: string, bandwidthBps: number) => void;
};

/** Streams whose lowest rung is remembered; the one unheard of for longest goes first. */
export const LOWEST_RUNGS_MAX = 20_000;

export function openViewerExperience(deps: ViewerExperienceDeps, started: DisposableStack): ViewerExperience {
  const { clock, metrics, directory, trusted, logToken } = deps;
  const isCdn = (name: string): boolean => directory.get(name) !== undefined;
  const qoe = new Qoe({ clock, metrics, isCdn });
  started.add('experience', qoe, () => qoe.close());
  const routes = createCmcdRoutes(qoe, {
    clock,
    addressOf: (context) => viewerAddress((name) => context.req.header(name), trusted, peerAddress(context)),
    placeOf: (context) => viewerOrigin((name) => context.req.header(name), trusted),
    cdnByHost: (host) => directory.list().find(({ baseUrl }) => new URL(baseUrl).host === host)?.name,
    isCdn,
    logToken,
  });
  const lowestRungs = new RecentMap<string, number>(LOWEST_RUNGS_MAX);
  return {
    qoe,
    routes,
    observe: (observation) => observe(qoe, observation, lowestRungs.get(observation.streamId)),
    learnLowestRung: (streamId, bandwidthBps) => lowestRungs.set(streamId, bandwidthBps),
  };
}

/** Whoever has no token of ours can say anything about anybody: only authentic sessions are heard. */
function observe(qoe: Qoe, observation: SteeringObservation, lowestRungBps: number | undefined): void {
  if (!observation.authentic) return;
  const { sessionId, address, origin, assigned, early, pathways } = observation;
  const current = pathways.at(-1);
  qoe.observeSteeringRequest({
    sessionId,
    address,
    place: origin,
    assigned,
    reported: current?.id,
    throughputBps: current?.throughputBps,
    lowestRungBps,
    early,
  });
}
