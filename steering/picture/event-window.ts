import type { Clock } from '#runtime/clock.ts';

/** When players are asked to come back soon. */
export type EventPolicy = {
  /** How long after a change by ops. */
  readonly afterChangeMs: number;
  /** How long after the last change of any CDN's state; what has been wrong for longer has become the normal state. */
  readonly troubleMaxMs: number;
};

/** What is going on, as the event window looks at it. */
export type EventInput = {
  /** Generation of the registry; 0 while none has been read. */
  readonly generation: number;
  /** What is wrong, in any stable words; empty when nothing is. Another text is another state. */
  readonly trouble: string;
  /** A change is due so soon that TTLs given out now reach beyond it. */
  readonly changeDue: boolean;
};

/**
 * Whether an event is open. A TTL that was given out cannot be called back, so an event must be open before it is needed:
 * as soon as something is suspect, and ahead of every change that is due.
 */
export class EventWindow {
  readonly #clock: Clock;
  readonly #policy: EventPolicy;
  #generation = 0;
  #changedMs = -Infinity;
  #trouble = '';
  #troubleMs = -Infinity;

  constructor(policy: EventPolicy, deps: { readonly clock: Clock }) {
    this.#policy = policy;
    this.#clock = deps.clock;
  }

  /** Takes in what is going on and says whether an event is open now. */
  isOpen(input: EventInput): boolean {
    const nowMs = this.#clock.monotonicMs();
    if (input.generation !== this.#generation) {
      // Reading the registry for the first time changes nothing for anybody.
      if (this.#generation > 0) this.#changedMs = nowMs;
      this.#generation = input.generation;
    }
    if (input.trouble !== this.#trouble) {
      this.#trouble = input.trouble;
      this.#troubleMs = nowMs;
    }
    const troubled = input.trouble !== '' && nowMs - this.#troubleMs < this.#policy.troubleMaxMs;
    return troubled || input.changeDue || nowMs - this.#changedMs < this.#policy.afterChangeMs;
  }
}
