import type { AccessKey } from '#protocol/access/access-keys.ts';
import { signCommonAccessToken } from '#protocol/access/common-access-token.ts';
import { signHmacToken } from '#protocol/access/hmac-token.ts';
import type { Clock } from '#runtime/clock.ts';

export type TokenRequest = {
  readonly format: 'hmac' | 'cat';
  /** Seconds that the token is valid. */
  readonly expiresIn: number;
  /** ISO 3166-1 alpha-2; empty means everywhere. */
  readonly countries: readonly string[];
  /** Who watches, in the words of the application; may be ''. */
  readonly session: string;
};

const ISSUER = 'livehls';

/** Makes playback tokens. Nothing is kept of them: they are valid until they expire or their key is taken out. */
export class PlaybackTokens {
  readonly #key: AccessKey;
  readonly #clock: Clock;

  /** @param keys the first signs */
  constructor(keys: readonly [AccessKey, ...AccessKey[]], clock: Clock) {
    this.#key = keys[0];
    this.#clock = clock;
  }

  /** A token for one stream. */
  async mint(streamId: string, request: TokenRequest): Promise<{ token: string; expiresAtMs: number }> {
    const { format, countries, session: sessionId } = request;
    const issuedAtS = Math.floor(this.#clock.nowMs() / 1_000);
    const expiresAtS = issuedAtS + request.expiresIn;
    const common = { expiresAtS, countries, sessionId };
    const token =
      format === 'hmac'
        ? await signHmacToken({ ...common, streams: { match: 'exact', value: streamId } }, this.#key)
        : await signCommonAccessToken(
            { ...common, issuer: ISSUER, issuedAtS, path: { match: 'prefix', value: `/live/${streamId}/` } },
            this.#key,
          );
    return { token, expiresAtMs: expiresAtS * 1_000 };
  }
}
