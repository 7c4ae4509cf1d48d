import type { DemandMeter } from '#steering/demand/demand-meter.ts';
import type { HealthView } from '#steering/health/cdn-health.ts';
import {
  REPORT_PLACES_MAX,
  REPORT_STREAM_VIEWERS_MAX,
  REPORT_STREAMS_MAX,
  type HealthVote,
  type NodeReport,
} from '#steering/picture/node-report.ts';
import type { Place } from '#steering/qoe/viewer-place.ts';
import type { CdnDirectory } from '#steering/registry/cdn.ts';

/** Streams with viewers that are asked for one by one whether they fare differently somewhere. */
const STREAMS_WATCHED_MAX = 1_000;
/** The reason by which a node's health view says that all CDNs are failing for it. */
const ALL_FAILING_REASON = 'all_cdns_failing';

/** How viewers in a country or network fare on a CDN, compared with all viewers. */
export type PlaceExperience = {
  /** 0…1; 1 while nothing speaks against it, or too few do. */
  placeFactor(cdn: string, place: Place): number;
};

/** Differences smaller than this are none. */
const PLACE_FACTOR_MAX = 0.99;

/** What this node sees and counts at this moment. */
export function ownReport(from: {
  readonly nodeId: string;
  readonly directory: CdnDirectory;
  readonly health: HealthView;
  readonly demand: DemandMeter;
  readonly held: ReadonlyMap<string, number>;
  readonly experience: PlaceExperience;
}): NodeReport {
  const { directory, health, demand, nodeId, held, experience } = from;
  const votes: Record<string, HealthVote> = {};
  for (const { name } of directory.list()) {
    const { factor, state, reasons } = health.get(name);
    votes[name] = { factor, state, allFailing: reasons.includes(ALL_FAILING_REASON) };
  }
  return {
    node: nodeId,
    leaving: false,
    generation: directory.generation,
    health: votes,
    held: Object.fromEntries(held),
    streams: deviatingStreams(votes, health, demand),
    places: worsePlaces(Object.keys(votes), demand, experience),
    demand: { ...demand.read(), streams: mostWatched(demand) },
  };
}

function mostWatched(demand: DemandMeter): NodeReport['demand']['streams'] {
  return demand
    .streams(REPORT_STREAM_VIEWERS_MAX)
    .map((entry) => ({ ...entry, viewers: Math.round(entry.viewers * 10) / 10 }));
}

function deviatingStreams(
  votes: Readonly<Record<string, HealthVote>>,
  health: HealthView,
  demand: DemandMeter,
): NodeReport['streams'] {
  const streams: Record<string, Record<string, number>> = {};
  let pairs = 0;
  const streamIds = new Set(demand.streams(STREAMS_WATCHED_MAX).map(({ streamId }) => streamId));
  for (const streamId of streamIds)
    for (const [name, vote] of Object.entries(votes)) {
      const { factor } = health.get(name, streamId);
      if (factor === vote.factor || pairs >= REPORT_STREAMS_MAX) continue;
      (streams[streamId] ??= {})[name] = factor;
      pairs++;
    }
  return streams;
}

function worsePlaces(
  names: readonly string[],
  demand: DemandMeter,
  experience: PlaceExperience,
): NodeReport['places'] {
  const places: Record<string, Record<string, number>> = {};
  let pairs = 0;
  for (const { key, place } of demand.places())
    for (const name of names) {
      const factor = experience.placeFactor(name, place);
      if (factor > PLACE_FACTOR_MAX || pairs >= REPORT_PLACES_MAX) continue;
      (places[key] ??= {})[name] = factor;
      pairs++;
    }
  return places;
}
