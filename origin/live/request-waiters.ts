import type { ProblemError } from '#runtime/http/problem.ts';
import {
  ClientGoneError,
  HeldRequest,
  noRoom,
  whenGone,
  type Client,
  type Held,
  type Hold,
  type HeldRequests,
} from '#origin/live/held-requests.ts';

/** The held requests of one stream, counted against its own limit. */
export class StreamHolds {
  readonly all: HeldRequests;
  readonly #max: number;
  #count = 0;

  constructor(all: HeldRequests, max: number) {
    this.all = all;
    this.#max = max;
  }

  get count(): number {
    return this.#count;
  }

  /** @throws {ProblemError} 503 when the stream or the process holds as many as it may */
  assertRoom(client: Client): void {
    this.all.assertRoom(client);
    if (this.#count >= this.#max) throw noRoom('stream_waiters_exhausted', this.all.metrics);
  }

  add(held: Held): void {
    this.#count += 1;
    this.all.add(held);
  }

  delete(held: Held): void {
    this.#count -= 1;
    this.all.delete(held);
  }
}

/** Requests that wait for the same thing. */
type WaitGroup<State> = {
  readonly isMet: (state: State) => boolean;
  readonly waiting: Set<HeldRequest<State>>;
};

/**
 * Requests that wait for one thing (a rendition, a presentation) to reach a state. Those that wait for the same are
 * grouped, so that a new state costs one question per group and not one per request.
 */
export class RequestWaiters<State> {
  readonly #holds: StreamHolds;
  readonly #groups = new Map<string, WaitGroup<State>>();

  constructor(holds: StreamHolds) {
    this.#holds = holds;
  }

  /**
   * Waits for a published state that meets the condition.
   *
   * @param key names the condition; the same key must always come with the same condition
   * @throws {ProblemError} 503 when there is no room, when the deadline passes or at shutdown
   * @throws {ClientGoneError} when the client goes away first
   */
  async wait(key: string, isMet: (state: State) => boolean, hold: Hold): Promise<State> {
    this.#holds.assertRoom(hold.client);
    const { promise, resolve, reject } = Promise.withResolvers<State>();
    const held = new HeldRequest<State>(hold, resolve, reject, (settled) => {
      unwatch?.();
      this.#holds.delete(settled);
      group.waiting.delete(settled);
      if (group.waiting.size === 0 && this.#groups.get(key) === group) this.#groups.delete(key);
    });
    const unwatch = whenGone(hold.client, () => {
      this.#holds.all.metrics.waits.inc({ outcome: 'aborted' });
      held.fail(new ClientGoneError());
    });
    if (unwatch === undefined) throw new ClientGoneError();
    const group = this.#groupOf(key, isMet);
    group.waiting.add(held);
    this.#holds.add(held);
    return promise;
  }

  /** Releases the requests whose condition the state meets; each of them gets exactly this state. */
  publish(state: State): void {
    const releases: (() => void)[] = [];
    for (const [key, group] of this.#groups) {
      if (!group.isMet(state)) continue;
      this.#groups.delete(key);
      for (const held of group.waiting)
        releases.push(() => {
          if (held.fulfil(state)) this.#holds.all.metrics.waits.inc({ outcome: 'released' });
        });
    }
    if (releases.length > 0) this.#holds.all.release(releases);
  }

  /** Answers all of them with the error, in slices. */
  fail(error: ProblemError, outcome: string): void {
    const releases: (() => void)[] = [];
    for (const group of this.#groups.values())
      for (const held of group.waiting)
        releases.push(() => {
          if (held.fail(error)) this.#holds.all.metrics.waits.inc({ outcome });
        });
    this.#groups.clear();
    if (releases.length > 0) this.#holds.all.release(releases);
  }

  #groupOf(key: string, isMet: (state: State) => boolean): WaitGroup<State> {
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    const group: WaitGroup<State> = { isMet, waiting: new Set() };
    this.#groups.set(key, group);
    return group;
  }
}
