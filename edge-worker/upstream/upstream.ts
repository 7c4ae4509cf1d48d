import type { EdgeDeps, WaitUntil } from '#edge-worker/edge-deps.ts';
import { EdgeProblem } from '#edge-worker/http/answers.ts';
import { canonicalPath, type PlaybackTarget } from '#edge-worker/http/playback-path.ts';
import { AnswerMemory } from '#edge-worker/upstream/answer-memory.ts';
import { askOrigin, type OriginOutcome } from '#edge-worker/upstream/ask-origin.ts';
import { LiveEdges } from '#edge-worker/upstream/live-edges.ts';
import { OriginOrder } from '#edge-worker/upstream/origin-order.ts';
import { PlaceMemory } from '#edge-worker/upstream/place-memory.ts';
import type { UpstreamAnswer } from '#edge-worker/upstream/upstream-answer.ts';

export type UpstreamSettings = {
  readonly originUrls: readonly string[];
  /** Bearer token that lets us have protected streams; '' when nothing does. */
  readonly pullToken: string;
  readonly memoryBytesMax: number;
  /** How long after a part is due an origin may still be silent, ms. */
  readonly firstByteMarginMs: number;
};

/** Different things that may be asked of origins at the same time; one more is turned away. */
export const FLIGHTS_MAX = 2_000;
/** From an answer's headers to its end. */
const BODY_LIMIT_MS = 4_000;
/** A waiter stays this much longer than the request that it waits for may take, so that it hears of its end. */
const WAITER_GRACE_MS = 250;
/** A multivariant playlist that no origin can be asked for any more is given out for so long. */
const STALE_LADDER_MS = 60_000;

type Flight = { readonly answer: Promise<UpstreamAnswer>; readonly endsAtMs: number };

/**
 * Gets what origins have: from memory while it is fresh, else with one request however many wait for it, the held ones
 * too. What is shared between requests is a promise of plain bytes, which a Worker may await in any of them; streams and
 * responses belong to the request that fetched them.
 */
export class Upstream {
  readonly #deps: EdgeDeps;
  readonly #settings: UpstreamSettings;
  readonly #memory: AnswerMemory;
  readonly #place: PlaceMemory | undefined;
  readonly #origins: OriginOrder;
  readonly #edges = new LiveEdges();
  readonly #flights = new Map<string, Flight>();

  constructor(deps: EdgeDeps, settings: UpstreamSettings) {
    this.#deps = deps;
    this.#settings = settings;
    this.#memory = new AnswerMemory(settings.memoryBytesMax);
    this.#place = deps.placeCache === undefined ? undefined : new PlaceMemory(deps.placeCache, deps);
    this.#origins = new OriginOrder(settings.originUrls);
    deps.counters.gauge('edge_flights', 'Requests to origins under way.', () => this.#flights.size);
    deps.counters.gauge('edge_memory_bytes', 'Bytes of answers kept.', () => this.#memory.bytes);
    deps.counters.gauge('edge_memory_answers', 'Answers kept.', () => this.#memory.size);
  }

  /**
   * The answer for a target: 200, 400, 401, 403 or 404.
   *
   * @param waitUntil keeps the shared request alive when the viewer who began it leaves
   * @throws {EdgeProblem} when there is none; 404 when origins are silent, because that makes players leave at once
   */
  async get(target: PlaybackTarget, waitUntil: WaitUntil): Promise<UpstreamAnswer> {
    const { clock, counters } = this.#deps;
    const key = canonicalPath(target);
    const nowMs = clock.nowMs();
    const kept = this.#memory.get(key);
    if (kept !== undefined && kept.freshUntilMs > nowMs) {
      counters.add('edge_answers_total', 'from="memory"');
      return kept;
    }
    let flight = this.#flights.get(key);
    // The request that a flight belongs to may have been ended without a word, so nothing waits for it past its time.
    if (flight !== undefined && flight.endsAtMs > nowMs) counters.add('edge_answers_total', 'from="waiter"');
    else {
      if (this.#flights.size >= FLIGHTS_MAX) {
        counters.add('edge_overflows_total');
        throw new EdgeProblem(503, 'edge_busy', 'Too much is asked for at the same time.');
      }
      flight = this.#start(key, target, kept, waitUntil);
      waitUntil(flight.answer.catch(() => undefined));
    }
    return this.#await(flight, nowMs);
  }

  #start(
    key: string,
    target: PlaybackTarget,
    kept: UpstreamAnswer | undefined,
    waitUntil: WaitUntil,
  ): Flight {
    const nowMs = this.#deps.clock.nowMs();
    // Only a stream that is about to begin lets the request for its ladder wait.
    const isThere = target.kind === 'multivariant' && kept?.status === 200;
    const dueAtMs = nowMs + (isThere ? 0 : this.#edges.dueInMs(target, nowMs));
    const { originUrls, firstByteMarginMs } = this.#settings;
    const endsAtMs = dueAtMs + 2 * originUrls.length * firstByteMarginMs + BODY_LIMIT_MS + WAITER_GRACE_MS;
    const answer = this.#load(key, target, kept, dueAtMs, waitUntil).finally(() => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    });
    // Whoever waits hears of a failure; if nobody does any more, nobody needs to.
    answer.catch(() => undefined);
    const flight: Flight = { answer, endsAtMs };
    this.#flights.set(key, flight);
    return flight;
  }

  /** Waits no longer than the flight can take, by a timer of this very request. */
  async #await({ answer, endsAtMs }: Flight, nowMs: number): Promise<UpstreamAnswer> {
    let late: { cancel(): void } | undefined;
    const deadline = new Promise<never>((_, reject) => {
      late = this.#deps.clock.after(endsAtMs - nowMs, () => {
        this.#deps.counters.add('edge_late_waiters_total');
        reject(new EdgeProblem(404, 'origin_silent', 'No origin answered in time.'));
      });
    });
    try {
      return await Promise.race([answer, deadline]);
    } finally {
      late?.cancel();
    }
  }

  async #load(
    key: string,
    target: PlaybackTarget,
    kept: UpstreamAnswer | undefined,
    dueAtMs: number,
    waitUntil: WaitUntil,
  ): Promise<UpstreamAnswer> {
    const found = await this.#place?.match(key, target);
    if (found !== undefined) {
      this.#keep(key, target, found);
      return found;
    }
    this.#deps.counters.add('edge_answers_total', 'from="upstream"');
    const outcomes = await this.#askInTurn(target, dueAtMs);
    const answered = outcomes.find((outcome) => outcome.kind === 'answered');
    if (answered !== undefined) {
      this.#keep(key, target, answered.answer);
      if (this.#place !== undefined) waitUntil(this.#place.put(key, target, answered.answer));
      return answered.answer;
    }
    const missing = outcomes.find((outcome) => outcome.kind === 'missing');
    if (missing !== undefined) {
      this.#keep(key, target, missing.answer);
      return missing.answer;
    }
    return this.#without(target, kept, outcomes);
  }

  /** No origin has said anything that can be passed on. */
  async #without(
    target: PlaybackTarget,
    kept: UpstreamAnswer | undefined,
    outcomes: readonly OriginOutcome[],
  ): Promise<UpstreamAnswer> {
    const nowMs = this.#deps.clock.nowMs();
    if (target.kind === 'multivariant' && kept?.status === 200 && nowMs - kept.madeAtMs < STALE_LADDER_MS)
      return kept;
    if (outcomes.some(({ kind }) => kind === 'invalid'))
      throw new EdgeProblem(502, 'origin_answer_invalid', 'What the origin answered cannot be passed on.');
    if (target.kind === 'multivariant')
      throw new EdgeProblem(503, 'origin_silent', 'No origin answered in time.');
    if (target.kind === 'playlist' && target.directives.block !== undefined) {
      // A late broadcaster is not a dead origin: as long as one speaks, viewers get the playlist as it is and wait.
      const plain: PlaybackTarget = { ...target, directives: { block: undefined, form: 'full' } };
      const asked = await this.#askInTurn(plain, nowMs);
      const spoke = asked.find((outcome) => outcome.kind === 'answered' && outcome.answer.status === 200);
      if (spoke !== undefined && 'answer' in spoke)
        return { ...spoke.answer, cacheControl: 'no-cache', freshUntilMs: 0 };
    }
    throw new EdgeProblem(404, 'origin_silent', 'No origin answered in time.');
  }

  #keep(key: string, target: PlaybackTarget, answer: UpstreamAnswer): void {
    const nowMs = this.#deps.clock.nowMs();
    if (answer.content.kind === 'playlist' && target.kind === 'playlist')
      this.#edges.saw(target.streamId, target.renditionId, answer.content.playlist.read, nowMs);
    // A stale ladder is of use still; anything else that is not fresh is not.
    const isUseful = answer.freshUntilMs > nowMs || target.kind === 'multivariant';
    if (isUseful && (answer.status === 200 || answer.status === 404)) this.#memory.set(key, answer);
    else this.#memory.delete(key);
  }

  /**
   * Asks one origin after the other: the next when one has failed, or is silent for longer than it may be, which is then
   * still listened to. Ends with the first answer, or when all have failed or the last one's time is up.
   */
  #askInTurn(target: PlaybackTarget, dueAtMs: number): Promise<OriginOutcome[]> {
    const urls = this.#origins.of(target.streamId);
    const outcomes: OriginOutcome[] = [];
    const abort = new AbortController();
    const { clock } = this.#deps;
    return new Promise((resolve) => {
      let started = 0;
      let timer: { cancel(): void } | undefined;
      const finish = (): void => {
        timer?.cancel();
        resolve(outcomes);
        abort.abort();
      };
      const { pullToken } = this.#settings;
      const startNext = (): void => {
        timer?.cancel();
        const index = started;
        const url = urls[index];
        if (url === undefined) return finish();
        started++;
        // Until it is due an origin may rightly hold the request, whichever is asked.
        const dueInMs = Math.max(0, dueAtMs - clock.nowMs());
        timer = clock.after(dueInMs + this.#settings.firstByteMarginMs, startNext);
        const heard = (): void => {
          if (started !== index + 1 || abort.signal.aborted) return;
          timer?.cancel();
          timer = clock.after(BODY_LIMIT_MS, startNext);
        };
        void askOrigin(this.#deps, { url, pullToken }, target, abort.signal, heard).then((outcome) => {
          if (abort.signal.aborted) return;
          outcomes.push(outcome);
          if (outcome.kind === 'answered') {
            this.#origins.answered(target.streamId, url);
            finish();
          } else if (started === index + 1) startNext();
          else if (outcomes.length === urls.length) finish();
        });
      };
      startNext();
    });
  }
}
