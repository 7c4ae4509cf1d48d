import { newSessionId } from '#protocol/steering/session-token.ts';
import type { SteeredSession } from '#protocol/steering/pathway-priority.ts';

/** Sessions kept for simulations, whatever the number of viewers. */
export const SESSION_SAMPLE_MAX = 4_096;

/** The sessions answered last, so that a dry-run moves viewers as they really are: streams, regions and all. */
export class SessionSample {
  readonly #sessions: SteeredSession[] = [];
  #next = 0;

  add(session: SteeredSession): void {
    this.#sessions[this.#next] = session;
    this.#next = (this.#next + 1) % SESSION_SAMPLE_MAX;
  }

  /** Number of real sessions at hand. */
  get size(): number {
    return this.#sessions.length;
  }

  /**
   * `count` sessions to simulate with. Real ones come in with their stream and region, each several times under new
   * session ids where there are too few for a precise share; without any, sessions of one stream from nowhere.
   */
  draw(count: number): SteeredSession[] {
    const real = this.#sessions.slice(0, count);
    const rest = Array.from({ length: count - real.length }, (_, i) => {
      const model = real[i % real.length];
      const sessionId = newSessionId();
      return model === undefined
        ? { sessionId, streamId: 'dry-run', generation: 0, country: undefined, asn: undefined }
        : { ...model, sessionId };
    });
    return [...real, ...rest];
  }
}
