import { newSessionId } from '#protocol/steering/session-token.ts';
import { steeringTtlS, type SteeringRhythm } from '#protocol/steering/steering-ttl.ts';

/** A crowd that joins at once, by the code that gives out TTLs. */
export type HerdRun = {
  readonly sessions: number;
  readonly joinSeconds: number;
  readonly meanTtlS: number;
  /** Requests in each second from the first join on. */
  readonly requestsPerSecond: readonly number[];
  /** What the rate comes to in the long run. */
  readonly meanPerSecond: number;
  /** Highest rate after one mean TTL, in means. */
  readonly peakAfterOneTtl: number;
};

const ROUND_TRIP_S = 0.05;

/** Lets `sessions` join within `joinSeconds` and follow their TTLs for `seconds`. */
export function runHerd(sessions: number, joinSeconds: number, meanTtlS: number, seconds: number): HerdRun {
  const requestsPerSecond = Array.from({ length: seconds }, () => 0);
  for (let i = 0; i < sessions; i++) {
    const sessionId = newSessionId();
    let rhythm: SteeringRhythm = 'none';
    let atS = (joinSeconds * i) / sessions;
    let issuedAtS = 1_800_000_000 + Math.floor(atS);
    while (atS < seconds) {
      requestsPerSecond[Math.floor(atS)] = (requestsPerSecond[Math.floor(atS)] ?? 0) + 1;
      const ttlS = steeringTtlS({ sessionId, issuedAtS, rhythm }, { rhythm: 'steady', meanS: meanTtlS });
      rhythm = 'steady';
      issuedAtS = 1_800_000_000 + Math.floor(atS);
      atS += ttlS + ROUND_TRIP_S;
    }
  }
  const meanPerSecond = sessions / (meanTtlS + ROUND_TRIP_S);
  const peakAfterOneTtl = Math.max(...requestsPerSecond.slice(meanTtlS)) / meanPerSecond;
  return { sessions, joinSeconds, meanTtlS, requestsPerSecond, meanPerSecond, peakAfterOneTtl };
}
