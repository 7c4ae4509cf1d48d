const BUCKET_S = 2;
const BUCKETS = 64;
/** Longest time an amount can count for. */
export const COUNT_HORIZON_S = BUCKET_S * (BUCKETS - 2);

/**
 * Counts amounts that each hold for a given time: the players whose last answer has not run out yet, that is, request
 * rate times TTL. Fixed memory, however many are counted; times are rounded up to two seconds, which about covers the
 * way to the player and back.
 */
export class DecayingCount {
  readonly #ending = new Float64Array(BUCKETS);
  #sum = 0;
  #bucket = 0;

  /** Counts `amount` from now until `forS` seconds from now, at most {@link COUNT_HORIZON_S}. */
  add(amount: number, nowS: number, forS: number): void {
    this.#advance(nowS);
    const endS = nowS + Math.min(forS, COUNT_HORIZON_S);
    const index = Math.max(this.#bucket + 1, Math.ceil(endS / BUCKET_S)) % BUCKETS;
    this.#ending[index] = (this.#ending[index] ?? 0) + amount;
    this.#sum += amount;
  }

  /** What counts now. */
  value(nowS: number): number {
    this.#advance(nowS);
    // Adding and taking away fractions leaves dust behind.
    return this.#sum < 1e-6 ? 0 : this.#sum;
  }

  #advance(nowS: number): void {
    const bucket = Math.floor(nowS / BUCKET_S);
    const steps = Math.min(BUCKETS, bucket - this.#bucket);
    for (let i = 0; i < steps; i++) {
      const index = (bucket - i) % BUCKETS;
      this.#sum -= this.#ending[index] ?? 0;
      this.#ending[index] = 0;
    }
    if (steps > 0) this.#bucket = bucket;
  }
}
