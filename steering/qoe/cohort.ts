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
type Voice = { readonly hash: number; lastMs: number; readonly sessions: Map<string, Session> };

/**
 * The viewers of one CDN in one place, as a bounded sample: of all voices heard, those with the smallest hashes. Every
 * voice weighs the same, whatever it says and how often; who is in the sample depends on a hash that a client can neither
 * know nor choose. So nobody counts for more than one of the sample, and a crowd is represented fairly.
 */
export class Cohort {
  readonly #voicesMax: number;
  readonly #voices = new Map<string, Voice>();

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
    const known = this.#voices.get(voice) ?? this.#admit(voice, hash, nowMs);
    if (known === undefined) return;
    known.lastMs = nowMs;
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
    const voices = this.#voices.size;
    return { voices, mean: voices === 0 ? 1 : sum / voices };
  }

  get size(): number {
    return this.#voices.size;
  }

  #admit(name: string, hash: number, nowMs: number): Voice | undefined {
    if (this.#voices.size >= this.#voicesMax && !this.#makeRoom(hash, nowMs)) return undefined;
    const voice: Voice = { hash, lastMs: nowMs, sessions: new Map() };
    this.#voices.set(name, voice);
    return voice;
  }

  #makeRoom(hash: number, nowMs: number): boolean {
    let largest: [string, Voice] | undefined;
    for (const entry of this.#voices) {
      if (nowMs - entry[1].lastMs > VOICE_EXPIRY_MS) {
        this.#voices.delete(entry[0]);
        return true;
      }
      if (largest === undefined || entry[1].hash > largest[1].hash) largest = entry;
    }
    if (largest === undefined || largest[1].hash <= hash) return false;
    this.#voices.delete(largest[0]);
    return true;
  }
}

function forgetSilent(voice: Voice, nowMs: number): void {
  for (const [id, { lastMs }] of voice.sessions)
    if (nowMs - lastMs > VOICE_EXPIRY_MS) voice.sessions.delete(id);
}
