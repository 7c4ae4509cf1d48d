/** Sessions of one voice that are told apart; further ones replace none of them. */
export const SESSIONS_PER_VOICE_MAX = 4;
/** A voice that says nothing for this long is not counted any more. Longer than two steering answers live. */
export const VOICE_EXPIRY_MS = 90_000;
/** Weight of a session's newest observation in its value. */
const SMOOTHING = 0.3;

/** What is known of a cohort. */
export type CohortSummary = {
  /** Voices heard. */
  readonly voices: number;
  /** Mean of the voices' values, 0…1. */
  readonly mean: number;
};

type Session = { value: number; lastMs: number };
type Voice = { readonly hash: number; readonly sessions: Map<string, Session> };

/**
 * The viewers of one CDN in one place, as a bounded sample: of all voices heard, those with the smallest hashes. Every
 * voice weighs the same, whatever it says and how often; who is in the sample depends on a hash that a client can neither
 * know nor choose. So nobody counts for more than one of the sample, and a crowd is represented fairly.
 */
export class Cohort {
  readonly #voicesMax: number;
  readonly #voices = new Map<string, Voice>();
  #largestHash = -1;

  constructor(voicesMax: number) {
    this.#voicesMax = voicesMax;
  }

  /**
   * Notes how a session fares.
   *
   * @param hash of the voice, uniform
   * @param value 0 (cannot play) … 1 (plays)
   */
  observe(voice: string, hash: number, session: string, value: number, nowMs: number): void {
    const known = this.#voices.get(voice) ?? this.#admit(voice, hash);
    if (known === undefined) return;
    const before = known.sessions.get(session);
    if (before !== undefined) {
      before.value += SMOOTHING * (value - before.value);
      before.lastMs = nowMs;
      return;
    }
    if (known.sessions.size >= SESSIONS_PER_VOICE_MAX) forgetSilent(known, nowMs);
    if (known.sessions.size < SESSIONS_PER_VOICE_MAX) known.sessions.set(session, { value, lastMs: nowMs });
  }

  /** Forgets who is silent; then says what the others say. */
  summarise(nowMs: number): CohortSummary {
    let sum = 0;
    for (const [name, voice] of this.#voices) {
      forgetSilent(voice, nowMs);
      if (voice.sessions.size === 0) {
        this.#voices.delete(name);
        continue;
      }
      let own = 0;
      for (const { value } of voice.sessions.values()) own += value;
      sum += own / voice.sessions.size;
    }
    // Those who are silent have made room for others.
    this.#findLargest();
    const voices = this.#voices.size;
    return { voices, mean: voices === 0 ? 1 : sum / voices };
  }

  get size(): number {
    return this.#voices.size;
  }

  #admit(name: string, hash: number): Voice | undefined {
    if (this.#voices.size >= this.#voicesMax) {
      // Nearly everybody in a crowd ends here, so it must cost nothing.
      if (hash >= this.#largestHash) return undefined;
      this.#dropLargest();
    }
    const voice: Voice = { hash, sessions: new Map() };
    this.#voices.set(name, voice);
    this.#largestHash = Math.max(this.#largestHash, hash);
    return voice;
  }

  #dropLargest(): void {
    for (const [name, { hash }] of this.#voices) {
      if (hash !== this.#largestHash) continue;
      this.#voices.delete(name);
      break;
    }
    this.#findLargest();
  }

  #findLargest(): void {
    this.#largestHash = -1;
    for (const { hash } of this.#voices.values()) if (hash > this.#largestHash) this.#largestHash = hash;
  }
}

function forgetSilent(voice: Voice, nowMs: number): void {
  for (const [id, { lastMs }] of voice.sessions)
    if (nowMs - lastMs > VOICE_EXPIRY_MS) voice.sessions.delete(id);
}
