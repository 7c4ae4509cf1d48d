import { randomBytes } from 'node:crypto';
import { Counter } from 'prom-client';
import { hash64 } from '#protocol/placement/hash64.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { voiceOf } from '#steering/qoe/viewer-place.ts';

/** Bits of each of the two filters of tokens; tokens that one takes before it makes room; positions per token. */
const FILTER_BITS = 2 ** 24;
const FILTER_TOKENS_MAX = 2_000_000;
const FILTER_HASHES = 4;
/** A filter takes tokens for this long; a token is known again for once to twice the time. */
export const TOKEN_WINDOW_S = 120;
/** Cells of each of the two rows in which viewers per address are estimated, and how fast they fade, seconds. */
const ADDRESS_CELLS = 2 ** 16;
const ADDRESS_FADE_S = 10;

/** An answer whose viewer is to be counted. */
export type CreditedAnswer = {
  /** What tells this token from all others; `undefined` when the request had none that is ours. */
  readonly tokenId: string | undefined;
  readonly address: string | undefined;
  /** Part 0…1 of a viewer. */
  readonly weight: number;
  readonly ttlS: number;
};

/**
 * Says how much of a viewer an answer may count for, so that nobody makes an audience out of nothing. A token counts once:
 * whoever sends it again and again stays one viewer. An address (or IPv6 /56) counts for so many viewers and no more,
 * whatever tokens it has or leaves out. Memory is fixed (6 MiB) and knows no session: two Bloom filters that take turns,
 * and a sketch of viewers per address. Both err on the side of counting too few: a filter that is full mistakes 2 % of
 * new tokens for old ones.
 */
export class ViewerCredit {
  readonly #clock: Clock;
  readonly #perAddressMax: number;
  readonly #discounted: Counter<'reason'>;
  readonly #secret = randomBytes(12).toString('hex');
  #young = new Uint32Array(FILTER_BITS / 32);
  #old = new Uint32Array(FILTER_BITS / 32);
  #taken = 0;
  #turnedS: number;
  readonly #viewers = [new Float64Array(ADDRESS_CELLS), new Float64Array(ADDRESS_CELLS)] as const;
  readonly #touchedS = [new Float64Array(ADDRESS_CELLS), new Float64Array(ADDRESS_CELLS)] as const;

  /** @param settings `perAddressMax`: viewers that one address may count for */
  constructor(
    settings: { readonly perAddressMax: number },
    deps: { readonly clock: Clock; readonly metrics: Metrics },
  ) {
    this.#clock = deps.clock;
    this.#perAddressMax = settings.perAddressMax;
    this.#turnedS = deps.clock.monotonicMs() / 1_000;
    this.#discounted = new Counter({
      name: 'steering_demand_discounted_total',
      help: 'Answers that count for no viewer or only part of one, by reason: repeated_token, address_limit.',
      labelNames: ['reason'],
      registers: [deps.metrics],
    });
  }

  /** Part 0…1 of a viewer that the answer counts for, at most its weight. */
  take({ tokenId, address, weight, ttlS }: CreditedAnswer): number {
    if (weight <= 0) return 0;
    const nowS = this.#clock.monotonicMs() / 1_000;
    if (tokenId !== undefined && this.#isRepeated(tokenId, nowS)) {
      this.#discounted.inc({ reason: 'repeated_token' });
      return 0;
    }
    // Where no address is known there is no connection either: simulations.
    if (address === undefined) return weight;
    const granted = this.#ofAddress(voiceOf(address), weight, ttlS, nowS);
    if (granted < weight) this.#discounted.inc({ reason: 'address_limit' });
    return granted;
  }

  #isRepeated(tokenId: string, nowS: number): boolean {
    if (nowS - this.#turnedS > TOKEN_WINDOW_S || this.#taken >= FILTER_TOKENS_MAX) this.#turn(nowS);
    const { high, low } = hash64(this.#secret + tokenId);
    let isYoung = true;
    let isOld = true;
    for (let i = 0; i < FILTER_HASHES; i++) {
      const bit = ((high + Math.imul(i, low | 1)) >>> 0) % FILTER_BITS;
      const word = bit >>> 5;
      const mask = 1 << (bit & 31);
      const young = this.#young[word] ?? 0;
      isYoung &&= (young & mask) !== 0;
      isOld &&= ((this.#old[word] ?? 0) & mask) !== 0;
      this.#young[word] = young | mask;
    }
    if (!isYoung) this.#taken++;
    return isYoung || isOld;
  }

  #turn(nowS: number): void {
    const oldest = this.#old;
    this.#old = this.#young;
    this.#young = oldest.fill(0);
    this.#taken = 0;
    this.#turnedS = nowS;
  }

  /**
   * A viewer that comes back every TTL adds TTL / fade each time to what fades away meanwhile, which keeps it at 1. So a
   * cell's value is the number of its viewers, and a rush of an address is granted some 2.5 times its limit for one TTL.
   */
  #ofAddress(voice: string, weight: number, ttlS: number, nowS: number): number {
    const { high, low } = hash64(this.#secret + voice);
    const cells = [high % ADDRESS_CELLS, low % ADDRESS_CELLS] as const;
    const levels = [this.#faded(0, cells[0], nowS), this.#faded(1, cells[1], nowS)] as const;
    const level = Math.min(...levels);
    const share = ttlS / ADDRESS_FADE_S;
    const granted = Math.min(weight, Math.max(0, (this.#perAddressMax - level) / share));
    const raised = level + granted * share;
    for (const row of [0, 1] as const) {
      this.#viewers[row][cells[row]] = Math.max(levels[row], raised);
      this.#touchedS[row][cells[row]] = nowS;
    }
    return granted;
  }

  #faded(row: 0 | 1, cell: number, nowS: number): number {
    const idleS = Math.max(0, nowS - (this.#touchedS[row][cell] ?? 0));
    return (this.#viewers[row][cell] ?? 0) * Math.exp(-idleS / ADDRESS_FADE_S);
  }
}
