import { createHash } from 'node:crypto';
import type { Clock } from '#runtime/clock.ts';
import { DatabaseUnavailableError } from '#runtime/postgres/database-errors.ts';
import type { ApiKeyRegistry } from '#origin/registry/api-key-registry.ts';
import type { ApiKeyRecord } from '#origin/registry/api-keys-table.ts';

/** How long what is known of a key is believed: a deleted key ends within this time on every origin. */
export const API_KEY_FRESH_MS = 2_000;
/** How long it is believed while the database is away, so that viewers get their tokens. */
export const API_KEY_STALE_MS = 10 * 60 * 1000;
/** Keys remembered; the one asked for longest ago goes first. */
export const API_KEYS_CACHED_MAX = 5_000;

type Known = { readonly key: ApiKeyRecord | undefined; readonly atMs: number };

/** Recognises keys of the API without asking the database for every request. */
export class ApiKeyCache {
  readonly #registry: Pick<ApiKeyRegistry, 'recognise'>;
  readonly #clock: Clock;
  /** By a digest of what was presented. */
  readonly #known = new Map<string, Known>();

  constructor(registry: Pick<ApiKeyRegistry, 'recognise'>, clock: Clock) {
    this.#registry = registry;
    this.#clock = clock;
  }

  get size(): number {
    return this.#known.size;
  }

  /** @returns undefined when it is no valid key @throws {DatabaseUnavailableError} when nothing is known of it */
  async recognise(presented: string): Promise<ApiKeyRecord | undefined> {
    const digest = createHash('sha256').update(presented).digest('base64');
    const known = this.#known.get(digest);
    const ageMs = known === undefined ? Infinity : this.#clock.monotonicMs() - known.atMs;
    if (known !== undefined && ageMs < API_KEY_FRESH_MS) return this.#valid(known);
    try {
      const atMs = this.#clock.monotonicMs();
      const key = await this.#registry.recognise(presented);
      // What never was a key is not remembered: made-up ones must not drive the real ones out.
      if (key !== undefined || known !== undefined) this.#remember(digest, { key, atMs });
      return key;
    } catch (error) {
      if (!(error instanceof DatabaseUnavailableError) || known === undefined || ageMs > API_KEY_STALE_MS)
        throw error;
      return this.#valid(known);
    }
  }

  /** A key was deleted here. */
  forget(id: string): void {
    for (const [digest, { key }] of this.#known) if (key?.id === id) this.#known.delete(digest);
  }

  #valid({ key }: Known): ApiKeyRecord | undefined {
    const isOver = key !== undefined && key.notAfterMs !== null && key.notAfterMs <= this.#clock.nowMs();
    return isOver ? undefined : key;
  }

  #remember(digest: string, known: Known): void {
    this.#known.delete(digest);
    this.#known.set(digest, known);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= API_KEYS_CACHED_MAX) break;
      this.#known.delete(oldest);
    }
  }
}
