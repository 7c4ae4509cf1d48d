import { pathwayPriority, prepareSnapshot } from '#protocol/steering/pathway-priority.ts';
import { newSessionId } from '#protocol/steering/session-token.ts';
import { EMPTY_SNAPSHOT } from '#protocol/steering/steering-snapshot.ts';

const ROUNDS = 5;
const DECISIONS = 200_000;

/** Microseconds that one decision takes (the order of all CDNs for a session), for several numbers of CDNs; raw rounds. */
export function measureDecisions(cdnCounts: readonly number[]): Record<string, number[]> {
  const sessions = Array.from({ length: 1_000 }, () => ({
    sessionId: newSessionId(),
    streamId: 'bench',
    generation: 0,
    country: undefined,
    asn: undefined,
  }));
  const results: Record<string, number[]> = {};
  for (const count of cdnCounts) {
    const cdns = Array.from({ length: count }, (_, i) => ({
      name: `cdn-${i}`,
      baseUrl: `https://cdn-${i}.example`,
      enabled: true,
      weight: 10 + i,
      health: 1,
      priorityClass: 1,
      addedGeneration: 1,
      countries: [],
      asns: [],
    }));
    const picture = prepareSnapshot({ ...EMPTY_SNAPSHOT, cdns });
    results[String(count)] = Array.from({ length: ROUNDS }, () => {
      let listed = 0;
      const startMs = performance.now();
      for (let i = 0; i < DECISIONS; i++)
        listed += pathwayPriority(picture, sessions[i % sessions.length]!).length;
      const tookMs = performance.now() - startMs;
      if (listed !== DECISIONS * count) throw new Error('a decision left a CDN out');
      return (tookMs * 1_000) / DECISIONS;
    });
  }
  return results;
}
