import { Counter } from 'prom-client';
import { DEFAULT_PATHWAY_ID } from '#protocol/steering/pathway-id.ts';
import {
  pathwayPriority,
  type SteeredSession,
  type SteeringPicture,
} from '#protocol/steering/pathway-priority.ts';
import {
  newSessionId,
  pathwayTag,
  pathwayTagOfHash,
  SESSION_TOKEN_LIFETIME_S,
  signSessionToken,
  verifySessionToken,
  type SessionClaims,
  type TokenMac,
  type TokenVerdict,
} from '#protocol/steering/session-token.ts';
import { writeSteeringManifest } from '#protocol/steering/steering-manifest.ts';
import {
  parseSteeringQuery,
  SESSION_PARAMETER,
  type ReportedPathway,
} from '#protocol/steering/steering-query.ts';
import { steeringTtlS } from '#protocol/steering/steering-ttl.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { TtlPolicy } from '#steering/answers/ttl-policy.ts';
import type { ViewerOrigin } from '#steering/answers/viewer-origin.ts';
import type { DemandMeter } from '#steering/demand/demand-meter.ts';
import type { ViewerCredit } from '#steering/demand/viewer-credit.ts';
import type { SessionSample } from '#steering/demand/session-sample.ts';
import type { CurrentPicture } from '#steering/picture/picture-keeper.ts';
import { regionGroup } from '#steering/picture/region-group.ts';

/** A request for a steering manifest, as far as it matters. */
export type SteeringRequest = {
  readonly streamId: string;
  /** What stands behind the question mark. */
  readonly query: string;
  /** `scheme://host[:port][/path]` under which the player reaches us. */
  readonly base: string;
  readonly origin: ViewerOrigin;
  /** Address of the player, as far as it is known; never logged, never a label. */
  readonly address: string | undefined;
};

/** What a request said about its viewer; for whoever measures quality of experience. */
export type SteeringObservation = {
  readonly sessionId: string;
  readonly streamId: string;
  readonly origin: ViewerOrigin;
  readonly address: string | undefined;
  /** Pathways in use since the last request, the present one last. Untrusted. */
  readonly pathways: readonly ReportedPathway[];
  /** The session is one of ours; without that anybody can say anything. */
  readonly authentic: boolean;
  /** The pathway that the last answer put first; `undefined` when there was none, or it is gone. */
  readonly assigned: string | undefined;
  /** The player asked well before its TTL was over, as one does that retries. */
  readonly early: boolean;
};

export type SteeringAnswersDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly picture: () => CurrentPicture;
  /** The first signs, all are accepted. */
  readonly keys: readonly [TokenMac, ...TokenMac[]];
  readonly ttl: TtlPolicy;
  readonly demand: DemandMeter;
  readonly credit: ViewerCredit;
  readonly sample: SessionSample;
  readonly observe: (observation: SteeringObservation) => void;
};

/** TTL of the answer that is given when making one failed. */
const FALLBACK_TTL_S = 30;
/** A request in the first half of its TTL is a retry. */
const EARLY_BELOW = 0.5;

/** Answers players. Holds nothing about them: what must be remembered travels in the token. */
export class SteeringAnswers {
  readonly #deps: SteeringAnswersDeps;
  readonly #answers: Counter<'token'>;
  readonly #firstChoices: Counter<'cdn'>;
  readonly #failures: Counter;

  constructor(deps: SteeringAnswersDeps) {
    this.#deps = deps;
    const registers = [deps.metrics];
    this.#answers = new Counter({
      name: 'steering_answers_total',
      help: 'Answers to players, by what became of the session token: valid, or why it was not.',
      labelNames: ['token'],
      registers,
    });
    this.#firstChoices = new Counter({
      name: 'steering_first_choices_total',
      help: 'Answers by the pathway that was put first.',
      labelNames: ['cdn'],
      registers,
    });
    this.#failures = new Counter({
      name: 'steering_answer_failures_total',
      help: 'Answers that could not be made as they should; the player got the default list.',
      registers,
    });
  }

  /** The body of an answer: always a valid steering manifest, whatever was sent. Never throws. */
  answer(request: SteeringRequest): string {
    try {
      return this.#answer(request);
    } catch (error) {
      this.#failures.inc();
      this.#deps.logger.error({ err: error }, 'an answer could not be made');
      return this.#fallback(request);
    }
  }

  #answer(request: SteeringRequest): string {
    const { clock, keys, ttl, demand, credit, sample, observe } = this.#deps;
    const { prepared } = this.#deps.picture();
    const { streamId, origin } = request;
    const nowS = Math.floor(clock.nowMs() / 1_000);
    const query = parseSteeringQuery(request.query);
    const verdict = verifySessionToken(query.session, streamId, nowS, keys);
    const claims = verdict.valid ? verdict.claims : newClaims(nowS, prepared.snapshot.generation);
    const session: SteeredSession = {
      sessionId: claims.sessionId,
      streamId,
      generation: claims.generation,
      country: origin.country,
      asn: origin.asn,
    };
    const priority = pathwayPriority(prepared, session);
    const first = priority[0] ?? DEFAULT_PATHWAY_ID;
    const rhythm = prepared.snapshot.event ? 'event' : 'steady';
    const ttlS = steeringTtlS(claims, { rhythm, meanS: ttl.meanS(rhythm) });
    const next: SessionClaims = {
      sessionId: claims.sessionId,
      issuedAtS: nowS,
      expiresAtS: nowS + SESSION_TOKEN_LIFETIME_S,
      generation: claims.generation,
      ttlS,
      rhythm,
      assignedTag: pathwayTag(first),
    };
    const token = signSessionToken(next, streamId, keys[0]);
    const body = writeSteeringManifest({
      VERSION: 1,
      TTL: ttlS,
      'RELOAD-URI': `${request.base}/steering/v1/${streamId}?${SESSION_PARAMETER}=${token}`,
      'PATHWAY-PRIORITY': priority,
    });

    const elapsed = elapsedShare(verdict, nowS);
    this.#answers.inc({ token: verdict.valid ? 'valid' : verdict.reason });
    this.#firstChoices.inc({ cdn: first });
    demand.record({
      cdn: first,
      streamId,
      regionGroup: regionGroup(prepared, origin),
      place: origin,
      ttlS,
      weight: credit.take({
        tokenId: verdict.valid ? claims.sessionId + claims.issuedAtS : undefined,
        address: request.address,
        weight: elapsed,
        ttlS,
      }),
    });
    sample.add(session);
    observe({
      sessionId: claims.sessionId,
      streamId,
      origin,
      address: request.address,
      pathways: query.pathways,
      authentic: verdict.valid,
      assigned: assignedBefore(claims, prepared),
      early: elapsed < EARLY_BELOW,
    });
    return body;
  }

  /** What is left when something of ours is broken: every enabled pathway in the order of the weights, no token. */
  #fallback(request: SteeringRequest): string {
    const { snapshot } = this.#deps.picture().prepared;
    const names = snapshot.cdns
      .filter((cdn) => cdn.enabled)
      .toSorted((a, b) => b.weight - a.weight)
      .map((cdn) => cdn.name);
    return writeSteeringManifest({
      VERSION: 1,
      TTL: FALLBACK_TTL_S,
      'RELOAD-URI': `${request.base}/steering/v1/${request.streamId}`,
      'PATHWAY-PRIORITY': names.length > 0 ? names : [DEFAULT_PATHWAY_ID],
    });
  }
}

function newClaims(nowS: number, generation: number): SessionClaims {
  return {
    sessionId: newSessionId(),
    issuedAtS: nowS,
    expiresAtS: nowS,
    generation,
    ttlS: 0,
    rhythm: 'none',
    assignedTag: 0,
  };
}

function assignedBefore(claims: SessionClaims, picture: SteeringPicture): string | undefined {
  if (claims.assignedTag === 0) return undefined;
  return picture.cdns.find((cdn) => pathwayTagOfHash(cdn.hash) === claims.assignedTag)?.name;
}

/** How much of the last TTL has passed, 0…1; 1 for a session that had none. A clock that was set back gives 0. */
function elapsedShare(verdict: TokenVerdict, nowS: number): number {
  if (!verdict.valid || verdict.claims.ttlS === 0) return 1;
  return Math.min(1, Math.max(0, (nowS - verdict.claims.issuedAtS) / verdict.claims.ttlS));
}
