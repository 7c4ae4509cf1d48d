/**
 * A map that remembers what was set or looked up lately, in bounded memory and constant time: at least half of `max` of
 * the most recent keys, at most `max`. (A plain Map used as a queue slows down: looking for its oldest key walks over all
 * that were deleted.)
 */
export class RecentMap<Key, Value> {
  readonly #half: number;
  #young = new Map<Key, Value>();
  #old = new Map<Key, Value>();

  constructor(max: number) {
    this.#half = Math.max(1, Math.floor(max / 2));
  }

  get(key: Key): Value | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: Key, value: Value): void {
    if (this.#young.size >= this.#half && !this.#young.has(key)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }

  /** Keys held, some of them twice. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }
}
