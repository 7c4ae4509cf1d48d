import type { UpstreamAnswer } from '#edge-worker/upstream/upstream-answer.ts';

/** What an entry costs besides its body: key, headers, and what a playlist was read into. */
const OVERHEAD_BYTES = 512;
const READ_PLAYLIST_FACTOR = 4;
const ENTRIES_MAX = 50_000;

/** Answers in memory, those used longest ago given up first. Keeps what is no longer fresh while there is room. */
export class AnswerMemory {
  readonly #answers = new Map<string, UpstreamAnswer>();
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#answers.size;
  }

  get(key: string): UpstreamAnswer | undefined {
    const answer = this.#answers.get(key);
    if (answer === undefined) return undefined;
    this.#answers.delete(key);
    this.#answers.set(key, answer);
    return answer;
  }

  set(key: string, answer: UpstreamAnswer): void {
    this.delete(key);
    const cost = costOf(key, answer);
    if (cost > this.#bytesMax) return;
    this.#answers.set(key, answer);
    this.#bytes += cost;
    for (const oldest of this.#answers.keys()) {
      if (this.#bytes <= this.#bytesMax && this.#answers.size <= ENTRIES_MAX) break;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    const answer = this.#answers.get(key);
    if (answer === undefined) return;
    this.#answers.delete(key);
    this.#bytes -= costOf(key, answer);
  }
}

function costOf(key: string, { body, content }: UpstreamAnswer): number {
  const factor = content.kind === 'bytes' ? 1 : READ_PLAYLIST_FACTOR;
  return OVERHEAD_BYTES + key.length * 2 + body.byteLength * factor;
}
