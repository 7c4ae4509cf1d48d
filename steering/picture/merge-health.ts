import { SNAPSHOT_PLACES_MAX, SNAPSHOT_STREAMS_MAX } from '#protocol/steering/steering-snapshot.ts';
import type { CdnHealth } from '#steering/health/cdn-health.ts';
import type { HealthVote, NodeReport } from '#steering/picture/node-report.ts';

/** What the nodes agree on about a CDN. */
export type AgreedHealth = {
  /** 0…1 in hundredths. */
  readonly factor: number;
  readonly state: CdnHealth['state'];
};

export type MergedHealth = {
  /** CDNs that at least one node has measured. */
  readonly cdns: ReadonlyMap<string, AgreedHealth>;
  /** Health of streams where it differs from the CDN's, by stream and CDN; the worst, at most 256 streams. */
  readonly streams: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** Every node sees everything failing. */
  readonly panic: boolean;
  /** Health factors that the nodes last knew to be good, by the same rule. */
  readonly held: ReadonlyMap<string, number>;
  /** How viewers in a country or network fare on a CDN compared with all viewers; the worst, at most 256 places. */
  readonly places: Readonly<Record<string, Readonly<Record<string, number>>>>;
};

type Health = Pick<NodeReport, 'health' | 'streams' | 'held' | 'places'>;

/** Differences smaller than this are none. */
const FACTOR_STEP = 0.01;

/**
 * What several nodes see, as one picture: per CDN the lower median of those that have measured it. All nodes come to the
 * same result from the same reports, without electing anybody. One node with a bad uplink among three changes nothing;
 * of two that disagree the worse counts, since a healthy CDN spared costs less than viewers left on a dead one.
 *
 * A node that sees everything failing is not asked, as long as another sees something alive.
 *
 * @param enabled CDNs that viewers may be sent to; only these count for whether everything fails
 */
export function mergeHealth(reports: readonly Health[], enabled: readonly string[]): MergedHealth {
  const judging = reports.filter((report) => Object.values(report.health).some(isKnown));
  const sighted = judging.filter((report) => !seesNothingAlive(report, enabled));
  const panic = judging.length > 0 && sighted.length === 0;
  const voters = panic ? judging : sighted;

  const names = new Set(voters.flatMap((report) => Object.keys(report.health)));
  const cdns = new Map<string, AgreedHealth>();
  for (const name of names) {
    const votes = voters.flatMap((report) => knownVote(report.health[name]));
    const median = lowerMedian(votes, (vote) => vote.factor);
    if (median !== undefined) cdns.set(name, { factor: rounded(median.factor), state: median.state });
  }
  return {
    cdns,
    streams: mergeStreams(voters, cdns),
    panic,
    held: mergeHeld(reports),
    places: mergePlaces(reports),
  };
}

/** Only nodes with enough viewers in a place say anything about it; the lower median of these. */
function mergePlaces(reports: readonly Health[]): Record<string, Record<string, number>> {
  const names = new Set(reports.flatMap((report) => Object.keys(report.places)));
  const merged = [...names].map((place) => {
    const cdns = namesIn(reports, (report) => report.places[place]);
    const factors = cdns.map((cdn) => {
      const votes = reports.flatMap((report) => report.places[place]?.[cdn] ?? []);
      return [cdn, rounded(lowerMedian(votes, (vote) => vote) ?? 1)] as const;
    });
    return { place, factors, worst: Math.min(1, ...factors.map(([, factor]) => factor)) };
  });
  const kept = merged
    .toSorted((a, b) => a.worst - b.worst || (a.place < b.place ? -1 : 1))
    .slice(0, SNAPSHOT_PLACES_MAX)
    .toSorted((a, b) => (a.place < b.place ? -1 : 1));
  return Object.fromEntries(kept.map(({ place, factors }) => [place, Object.fromEntries(factors)]));
}

function mergeHeld(reports: readonly Health[]): Map<string, number> {
  const names = new Set(reports.flatMap((report) => Object.keys(report.held)));
  return new Map(
    [...names].map((name) => {
      const votes = reports.flatMap((report) => report.held[name] ?? []);
      return [name, lowerMedian(votes, (vote) => vote) ?? 1];
    }),
  );
}

function mergeStreams(
  voters: readonly Health[],
  cdns: ReadonlyMap<string, AgreedHealth>,
): Record<string, Record<string, number>> {
  const streamIds = new Set(voters.flatMap((report) => Object.keys(report.streams)));
  const merged: { streamId: string; health: Record<string, number>; worst: number }[] = [];
  for (const streamId of streamIds) {
    const names = namesIn(voters, (report) => report.streams[streamId]);
    const health: Record<string, number> = {};
    for (const name of names) {
      const votes = voters.flatMap((report) => {
        const vote = knownVote(report.health[name])[0];
        const here = report.streams[streamId]?.[name] ?? vote?.factor;
        return here === undefined ? [] : [here];
      });
      const factor = rounded(lowerMedian(votes, (vote) => vote) ?? 1);
      if (Math.abs(factor - (cdns.get(name)?.factor ?? 1)) >= FACTOR_STEP) health[name] = factor;
    }
    const worst = Math.min(...Object.values(health));
    if (worst < Infinity) merged.push({ streamId, health, worst });
  }
  const kept = merged
    .toSorted((a, b) => a.worst - b.worst || (a.streamId < b.streamId ? -1 : 1))
    .slice(0, SNAPSHOT_STREAMS_MAX);
  return Object.fromEntries(kept.map(({ streamId, health }) => [streamId, health]));
}

/** Names that any report has in a table, in one order on all nodes: the picture is compared by its text. */
function namesIn(
  reports: readonly Health[],
  tableOf: (report: Health) => Readonly<Record<string, number>> | undefined,
): string[] {
  const names = new Set(reports.flatMap((report) => Object.keys(tableOf(report) ?? {})));
  return [...names].toSorted((a, b) => (a < b ? -1 : 1));
}

function isKnown(vote: HealthVote): boolean {
  return vote.state !== 'unknown';
}

function knownVote(vote: HealthVote | undefined): HealthVote[] {
  return vote !== undefined && isKnown(vote) ? [vote] : [];
}

/** What has not been measured may well be alive. */
function seesNothingAlive(report: Health, enabled: readonly string[]): boolean {
  const votes = enabled.map((name) => report.health[name]);
  return (
    votes.length > 0 && votes.every((vote) => vote !== undefined && (vote.allFailing || vote.factor === 0))
  );
}

/** The middle one by `keyOf`, the lower of two. */
function lowerMedian<Value>(values: readonly Value[], keyOf: (value: Value) => number): Value | undefined {
  const sorted = values.toSorted((a, b) => keyOf(a) - keyOf(b));
  return sorted[Math.floor((sorted.length - 1) / 2)];
}

/** In steps, so that a hair's breadth moves nobody; but what lives a little is not dead. */
function rounded(factor: number): number {
  return factor > 0 ? Math.max(FACTOR_STEP, Math.round(factor / FACTOR_STEP) * FACTOR_STEP) : 0;
}
