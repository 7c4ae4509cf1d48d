import type { AccessKey } from '#protocol/access/access-keys.ts';
import {
  findRefusal,
  type AccessRefusal,
  type PlaybackGrant,
  type PlaybackRequest,
} from '#protocol/access/playback-grant.ts';
import {
  PLAYBACK_TOKEN_CHARS_MAX,
  verifyPlaybackToken,
  type TokenVerdict,
} from '#protocol/access/playback-token.ts';

/** Verdicts that are remembered. A viewer asks several times a second with the same token. */
export const REMEMBERED_TOKENS_MAX = 10_000;

/**
 * Decides about requests with tokens. The signature of a token is checked once and remembered by the token's digest, so
 * that the memory holds nothing that opens a stream; when and for what it is used is judged each time. Refusals are
 * remembered apart: a flood of made-up tokens must not push out the good ones.
 */
export class TokenVerifier {
  readonly #keys: readonly AccessKey[];
  readonly #granted = new Map<string, TokenVerdict>();
  readonly #refused = new Map<string, TokenVerdict>();
  readonly #max: number;

  /** @param keys that are valid now, ours first */
  constructor(keys: readonly AccessKey[], rememberedMax: number = REMEMBERED_TOKENS_MAX) {
    this.#keys = keys;
    this.#max = rememberedMax;
  }

  /** Verdicts in memory. */
  get size(): number {
    return this.#granted.size + this.#refused.size;
  }

  /** The grant of a token for this request, or why there is none. Never throws. */
  async authorise(
    token: string | undefined,
    request: PlaybackRequest,
  ): Promise<{ readonly grant: PlaybackGrant } | { readonly refusal: AccessRefusal }> {
    if (token === undefined || token === '') return { refusal: 'token_missing' };
    if (token.length > PLAYBACK_TOKEN_CHARS_MAX) return { refusal: 'token_malformed' };
    const verdict = await this.#verdictOf(token);
    if ('refusal' in verdict) return verdict;
    const refusal = findRefusal(verdict.grant, request);
    return refusal === undefined ? verdict : { refusal };
  }

  async #verdictOf(token: string): Promise<TokenVerdict> {
    const digest = await digestOf(token);
    const known = this.#granted.get(digest) ?? this.#refused.get(digest);
    if (known !== undefined) return known;
    const verdict = await verifyPlaybackToken(token, this.#keys);
    const memory = 'grant' in verdict ? this.#granted : this.#refused;
    memory.set(digest, verdict);
    const oldest = memory.keys().next().value;
    if (memory.size > this.#max && oldest !== undefined) memory.delete(oldest);
    return verdict;
  }
}

async function digestOf(token: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token));
  return String.fromCharCode(...new Uint8Array(digest));
}
