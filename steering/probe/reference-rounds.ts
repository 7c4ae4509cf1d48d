import type { Clock } from '#runtime/clock.ts';
import type { ReferenceRound } from '#steering/probe/origin-reference.ts';

/** Rounds that begin within this time of one another share one look at the origin. */
export const SHARE_MS = 200;
/** Streams whose round is remembered. */
const STREAMS_MAX = 1_024;

/** Takes the reference of a stream. @throws {ProbeUnjudged} when the origin has nothing to compare with */
export type TakeReference = (streamId: string, round: number, signal: AbortSignal) => Promise<ReferenceRound>;

/** Asks the origin once per stream for all CDNs that are probed at the same time. */
export class ReferenceRounds {
  readonly #take: TakeReference;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #last = new Map<string, { startMs: number; round: number; reference: Promise<ReferenceRound> }>();

  constructor(take: TakeReference, deps: { clock: Clock; signal: AbortSignal }) {
    this.#take = take;
    this.#clock = deps.clock;
    this.#signal = deps.signal;
  }

  get(streamId: string): Promise<ReferenceRound> {
    const nowMs = this.#clock.monotonicMs();
    const last = this.#last.get(streamId);
    if (last !== undefined && nowMs - last.startMs < SHARE_MS) return last.reference;
    const round = (last?.round ?? -1) + 1;
    const reference = this.#take(streamId, round, this.#signal);
    // Everybody who asks gets the rejection; without anybody asking it is nobody's.
    reference.catch(() => undefined);
    this.#last.delete(streamId);
    this.#last.set(streamId, { startMs: nowMs, round, reference });
    for (const oldest of this.#last.keys()) {
      if (this.#last.size <= STREAMS_MAX) break;
      this.#last.delete(oldest);
    }
    return reference;
  }
}
