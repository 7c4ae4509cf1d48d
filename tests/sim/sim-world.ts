import { FakeClock } from '#runtime/clock.ts';
import { seededRandom } from '#tests/support/seeded-random.ts';

/** Lines of what happened that a failure shows. */
const TRACE_LINES_MAX = 40;

/** A promise of the system was broken; the message holds the seed and what happened before. */
export class SimFailure extends Error {
  override readonly name = 'SimFailure';
  readonly invariant: string;

  constructor(invariant: string, message: string) {
    super(message);
    this.invariant = invariant;
  }
}

/** Time, chance and memory of one run. The same seed gives the same run. */
export class SimWorld {
  readonly seed: number;
  readonly clock = new FakeClock();
  readonly #random: () => number;
  readonly #trace: string[] = [];
  #failure: SimFailure | undefined;
  /** How often each invariant was looked at: one that never was proves nothing. */
  readonly checks = new Map<string, number>();

  constructor(seed: number) {
    this.seed = seed;
    this.#random = seededRandom(seed);
  }

  get nowMs(): number {
    return this.clock.monotonicMs();
  }

  /** The first broken promise; the run goes on until its driver looks. */
  get failure(): SimFailure | undefined {
    return this.#failure;
  }

  chance(probability: number): boolean {
    return this.#random() < probability;
  }

  /** Evenly spread, from `least` to `most`. */
  between(least: number, most: number): number {
    return least + this.#random() * (most - least);
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[Math.floor(this.#random() * items.length)];
    if (item === undefined) throw new RangeError('nothing to pick from');
    return item;
  }

  note(happening: string): void {
    this.#trace.push(`${(this.nowMs / 1000).toFixed(3).padStart(8)} s  ${happening}`);
    if (this.#trace.length > TRACE_LINES_MAX) this.#trace.shift();
  }

  /** Runs `callback` after a while of the run's own time. */
  after(delayMs: number, callback: () => void): void {
    this.clock.after(delayMs, callback);
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve));
  }

  /** Says what must be true. */
  expect(invariant: string, holds: boolean, message: () => string): void {
    this.checks.set(invariant, (this.checks.get(invariant) ?? 0) + 1);
    if (holds || this.#failure !== undefined) return;
    const head = `seed ${this.seed} at ${(this.nowMs / 1000).toFixed(3)} s: ${invariant}: ${message()}`;
    this.#failure = new SimFailure(
      invariant,
      `${head}\nrepeat with SIM_SEED=${this.seed}; what happened before:\n${this.#trace.join('\n')}`,
    );
  }
}
