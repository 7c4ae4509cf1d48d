import { combineHash64, hash64, unitInterval } from '#protocol/placement/hash64.ts';
import { TTL_MAX_S, TTL_MIN_S } from '#protocol/steering/steering-manifest.ts';

/** How far a TTL strays from its mean, both ways. */
export const TTL_JITTER = 0.3;

/** The beat in which a session asks: `steady`, the quick one of an `event`, or `none` yet. */
export type SteeringRhythm = 'none' | 'steady' | 'event';

/**
 * When a session is to ask again, in whole seconds. The jitter keeps players that started together from asking together
 * for ever; it is drawn from the session and the time of its last answer, so any node gives the same answer to the same
 * request.
 *
 * Within ±30 % of the mean, except for the first TTL of the steady rhythm, which is between {@link TTL_MIN_S} and 1.3
 * times the mean plus {@link TTL_MIN_S}.
 *
 * @param session.issuedAtS when the session was answered last
 * @param session.rhythm the rhythm that it was in
 */
export function steeringTtlS(
  session: { readonly sessionId: string; readonly issuedAtS: number; readonly rhythm: SteeringRhythm },
  next: { readonly rhythm: 'steady' | 'event'; readonly meanS: number },
): number {
  const draw = combineHash64(hash64(session.sessionId), hash64(String(session.issuedAtS)));
  const jittered = next.meanS * (1 - TTL_JITTER + 2 * TTL_JITTER * unitInterval(draw));
  // A session that enters the steady rhythm comes from the same moment as many others: all joined at the start of the
  // show, or were asking quickly until the event was over.
  const entering = next.rhythm === 'steady' && session.rhythm !== 'steady';
  const seconds = entering
    ? entryDelayS(next.meanS, jittered, unitInterval(combineHash64(draw, draw)))
    : jittered;
  return Math.min(TTL_MAX_S, Math.max(TTL_MIN_S, Math.round(seconds)));
}

/**
 * What would be left of the interval for somebody who had been asking for ever (the residual life of the jittered
 * interval), so that a crowd that arrives within seconds is spread evenly at once; with jitter alone it comes back as a
 * wave of 1.7 times the mean rate for several rounds. Where that is too soon to ask, the interval after it is added.
 */
function entryDelayS(meanS: number, intervalS: number, u: number): number {
  const shortest = meanS * (1 - TTL_JITTER);
  const longest = meanS * (1 + TTL_JITTER);
  const flatPart = 1 - TTL_JITTER;
  const residual = u < flatPart ? u * meanS : longest - Math.sqrt(2 * (longest - shortest) * meanS * (1 - u));
  return residual < TTL_MIN_S ? residual + intervalS : residual;
}
