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
  /** As reported, untrusted. */
  readonly throughputBps?: number | undefined;
  /** Bandwidth of the lowest rung, when it is known. */
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
  const { assigned, reported, throughputBps, lowestRungBps } = observation;
  if (reported === undefined) return [];
  const statements: { cdn: string; value: number }[] = [];
  // It was sent to one CDN and uses another: it found the first one wanting before we did.
  if (assigned !== undefined && assigned !== reported) statements.push({ cdn: assigned, value: 0 });
  const starved =
    throughputBps !== undefined &&
    lowestRungBps !== undefined &&
    throughputBps >= 0 &&
    throughputBps < 1.2 * lowestRungBps;
  statements.push({ cdn: reported, value: starved ? 0.3 : observation.early === true ? 0.5 : 1 });
  return statements;
}
