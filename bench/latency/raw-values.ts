import type { ChainRun } from '#bench/latency/chain-run.ts';
import type { PartAvailability } from '#bench/latency/part-availability.ts';

/** Tenths of a millisecond are more than the clocks are good for. */
const tenths = (values: readonly number[]): number[] => values.map((value) => Math.round(value * 10) / 10);

/** The measurements of a chain as they go into the results file: every value, without what can be counted from it. */
export function rawValues(chain: ChainRun): Readonly<Record<string, unknown>> {
  const { partDurationMs, playlistHeader, players, lateFrames, problems } = chain;
  const byRendition = (of: (part: PartAvailability) => number): Record<string, number[]> => {
    const ids = [...new Set(chain.parts.map(({ rendition }) => rendition))];
    return Object.fromEntries(
      ids.map((id) => [id, tenths(chain.parts.filter(({ rendition }) => rendition === id).map(of))]),
    );
  };
  return {
    partDurationMs,
    playlistHeader,
    lateFrames,
    problems,
    publisherDelayMs: tenths(chain.publisherDelayMs),
    ingestToFetchableMs: byRendition(({ listedAtMs, ingestAtMs }) => listedAtMs - ingestAtMs),
    programDateTimeErrorMs: byRendition(
      ({ programDateTimeMs, ingestAtMs }) => programDateTimeMs - ingestAtMs,
    ),
    players: players.map(({ run, firstPictureMs, ...player }) => ({
      ...player,
      firstPictureMs: tenths(firstPictureMs),
      ...run,
      glassMs: tenths(run.glassMs),
      freezes: run.freezes.map(({ atMs, durationMs }) => ({ atMs, durationMs: Math.round(durationMs) })),
    })),
  };
}
