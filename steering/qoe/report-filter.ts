import type { Clock } from '#runtime/clock.ts';
import { RecentMap } from '#steering/qoe/recent-map.ts';

/** Addresses whose rate is watched, sessions whose sequence is remembered; the one unheard of for longest goes first. */
export const RATED_ADDRESSES_MAX = 20_000;
export const SEQUENCED_SESSIONS_MAX = 50_000;
/** Reports of one address: a second's worth in the long run, and at once after a pause. */
export const REPORTS_PER_SECOND_MAX = 10;
export const REPORTS_AT_ONCE_MAX = 100;
/** Sequence numbers behind the newest that are told apart; older ones count as seen. */
const SEQUENCE_WINDOW = 64;

/** Lets each address report so much and no more. */
export class AddressRate {
  readonly #clock: Clock;
  readonly #buckets = new RecentMap<string, { tokens: number; atMs: number }>(RATED_ADDRESSES_MAX);

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes one report of a voice out of its budget; `false` when there is none left. */
  take(voice: string): boolean {
    const nowMs = this.#clock.monotonicMs();
    const before = this.#buckets.get(voice) ?? { tokens: REPORTS_AT_ONCE_MAX, atMs: nowMs };
    const earned = ((nowMs - before.atMs) / 1_000) * REPORTS_PER_SECOND_MAX;
    const tokens = Math.min(REPORTS_AT_ONCE_MAX, before.tokens + earned);
    this.#buckets.set(voice, { tokens: tokens - (tokens >= 1 ? 1 : 0), atMs: nowMs });
    return tokens >= 1;
  }

  get size(): number {
    return this.#buckets.size;
  }
}

/** Knows which reports of a session came before: senders repeat a batch when the answer was lost. */
export class SequenceFilter {
  readonly #sessions = new RecentMap<string, { newest: number; seen: bigint }>(SEQUENCED_SESSIONS_MAX);

  /** Whether the report is new; remembers it. Reports without a number are always new. */
  isNew(sessionId: string, sequence: number | undefined): boolean {
    if (sequence === undefined) return true;
    const before = this.#sessions.get(sessionId) ?? { newest: sequence, seen: 0n };
    const ahead = sequence - before.newest;
    // The counter of a session starts anew when its player does.
    if (ahead > 0 || ahead < -1_000) {
      const shifted = ahead > 0 && ahead < SEQUENCE_WINDOW ? before.seen << BigInt(ahead) : 0n;
      const seen = (shifted | 1n) & WINDOW_MASK;
      this.#sessions.set(sessionId, { newest: sequence, seen });
      return true;
    }
    if (-ahead >= SEQUENCE_WINDOW) return false;
    const bit = 1n << BigInt(-ahead);
    if ((before.seen & bit) !== 0n) return false;
    this.#sessions.set(sessionId, { newest: before.newest, seen: before.seen | bit });
    return true;
  }

  get size(): number {
    return this.#sessions.size;
  }
}

const WINDOW_MASK = (1n << BigInt(SEQUENCE_WINDOW)) - 1n;
