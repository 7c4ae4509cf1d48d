import type { DemandMeter } from '#steering/demand/demand-meter.ts';
import type { HealthView } from '#steering/health/cdn-health.ts';
import { REPORT_STREAMS_MAX, type HealthVote, type NodeReport } from '#steering/picture/node-report.ts';
import type { CdnDirectory } from '#steering/registry/cdn.ts';

/** Streams with viewers that are asked for one by one whether they fare differently somewhere. */
const STREAMS_WATCHED_MAX = 1_000;
/** The reason by which a node's health view says that all CDNs are failing for it. */
const ALL_FAILING_REASON = 'all_cdns_failing';

/** What this node sees and counts at this moment. */
export function ownReport(from: {
  readonly nodeId: string;
  readonly directory: CdnDirectory;
  readonly health: HealthView;
  readonly demand: DemandMeter;
  readonly held: ReadonlyMap<string, number>;
}): NodeReport {
  const { directory, health, demand, nodeId, held } = from;
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
    demand: demand.read(),
  };
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
