import type { HealthInput } from '#steering/health/health-reducer.ts';
import { sampleScore, type ProbeSample } from '#steering/probe/probe-sample.ts';

/** What the probes of one round say about a CDN together. */
export type MergedSample = HealthInput & {
  readonly components: Readonly<Record<string, number>>;
  /** The most frequent first. */
  readonly reasons: readonly string[];
};

/** Most reasons that are kept. */
export const REASONS_MAX = 5;

/**
 * Judges a CDN by the probes of several streams in one round: it is as good as the better half of them, so that one
 * broken stream, or one lost probe, does not condemn it. Samples that judge nothing do not count.
 */
export function mergeSamples(samples: readonly ProbeSample[]): MergedSample {
  const judged = samples.filter(({ verdict }) => verdict !== 'unjudged');
  if (judged.length === 0) return { judged: false, components: {}, reasons: frequentReasons(samples) };
  const failed = judged.filter(({ verdict }) => verdict === 'failed').length;
  const names = new Set(judged.flatMap(({ components }) => Object.keys(components)));
  const components = Object.fromEntries(
    [...names].map((name) => [
      name,
      upperMedian(
        judged.flatMap((sample) => {
          const score = (sample.components as Readonly<Record<string, number>>)[name];
          return score === undefined ? [] : [score];
        }),
      ),
    ]),
  );
  return {
    judged: true,
    score: upperMedian(judged.map(sampleScore)),
    hard: failed * 2 > judged.length,
    components,
    reasons: frequentReasons(judged),
  };
}

function upperMedian(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 1;
}

function frequentReasons(samples: readonly ProbeSample[]): string[] {
  const counts = new Map<string, number>();
  for (const { reasons } of samples)
    for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts]
    .sort((a, b) => b[1] - a[1])
    .slice(0, REASONS_MAX)
    .map(([reason]) => reason);
}
