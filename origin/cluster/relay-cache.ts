/** Something that was pulled, and until when it may be given out again. */
type Kept<Value> = { readonly value: Value; readonly bytes: number; readonly untilMs: number };

/** Entries in all: those without bytes cost memory too. */
export const RELAY_ENTRIES_MAX = 20_000;

/** What a relay has pulled lately, bounded in bytes; what was used longest ago goes first. */
export class RelayCache<Value> {
  readonly #bytesMax: number;
  readonly #kept = new Map<string, Kept<Value>>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#kept.size;
  }

  /** @param nowMs monotonic */
  get(key: string, nowMs: number): Value | undefined {
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    if (kept.untilMs <= nowMs) {
      this.#drop(key, kept);
      return undefined;
    }
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    return kept.value;
  }

  /** Keeps a value for `forMs`; one that is larger than everything that may be kept is not. */
  put(key: string, value: Value, bytes: number, nowMs: number, forMs: number): void {
    const before = this.#kept.get(key);
    if (before !== undefined) this.#drop(key, before);
    if (bytes > this.#bytesMax || forMs <= 0) return;
    this.#kept.set(key, { value, bytes, untilMs: nowMs + forMs });
    this.#bytes += bytes;
    for (const [oldest, kept] of this.#kept) {
      if (this.#bytes <= this.#bytesMax && this.#kept.size <= RELAY_ENTRIES_MAX) return;
      this.#drop(oldest, kept);
    }
  }

  #drop(key: string, kept: Kept<Value>): void {
    this.#kept.delete(key);
    this.#bytes -= kept.bytes;
  }
}
