import type { Place } from '#steering/qoe/viewer-place.ts';

/** What one steering request tells about the CDN the player used. */
export type SteeringObservation = {
  /** Of the signed token, so that one viewer is one session. */
  readonly sessionId: string;
  /** The client's address as the trusted front says; without it the observation counts next to nothing. */
  readonly address?: string | undefined;
  readonly place?: Place;
  /** The CDN that led the last answer of this session; `undefined` on its first request. */
  readonly assigned?: string | undefined;
  /** The CDN the player says it uses; of several the one used last. */
  readonly reported?: string | undefined;
  /** Of the CDN it uses, as it reports itself: untrusted, and of any meaning only beside the lowest rung. */
  readonly throughputBps?: number | undefined;
  /** BANDWIDTH of the stream's lowest rung, when it is known. */
  readonly lowestRungBps?: number | undefined;
  /** It asks well before its time, as a player does that was started anew. */
  readonly early?: boolean;
};

/** What one CMCD report tells about a CDN. */
export type PlaybackObservation = {
  readonly sessionId: string;
  readonly address?: string | undefined;
  readonly place?: Place;
  /** `undefined`: the CDN that the session was last seen on. */
  readonly cdn?: string | undefined;
  /** 0 (cannot play) … 1 (plays well). */
  readonly value: number;
  /** The report is about what happened before it; right after a switch that was another CDN. */
  readonly aboutThePast?: boolean;
};

/** How a steering request speaks of CDNs: at most one statement about each. */
export function readSteering(
  observation: SteeringObservation,
): readonly { readonly cdn: string; readonly value: number }[] {
  const { assigned, reported } = observation;
  if (reported === undefined) return [];
  const statements: { cdn: string; value: number }[] = [];
  // It was sent to one CDN and uses another: it found the first one wanting before we did.
  if (assigned !== undefined && assigned !== reported) statements.push({ cdn: assigned, value: 0 });
  statements.push({ cdn: reported, value: valueOf(observation) });
  return statements;
}

/** A player that gets less than this much of the lowest rung will stall. */
const STARVED_BELOW = 1.2;

function valueOf(observation: SteeringObservation): number {
  return isStarved(observation) ? 0.3 : observation.early === true ? 0.5 : 1;
}

/**
 * A first request tells the guess that a player starts with, and one right after a move what it measured elsewhere: both
 * say nothing of the CDN. Rates that hls.js wraps at 2³¹ are negative, and were dropped, or too high to matter, but for a
 * sliver above 4.29 Gbit/s.
 */
function isStarved({ assigned, reported, throughputBps, lowestRungBps }: SteeringObservation): boolean {
  if (assigned !== reported || throughputBps === undefined || lowestRungBps === undefined) return false;
  return throughputBps >= 0 && throughputBps < STARVED_BELOW * lowestRungBps;
}
