import type { AccessKey } from '#protocol/access/access-keys.ts';
import { signHmacToken } from '#protocol/access/hmac-token.ts';
import { withToken } from '#protocol/access/token-path.ts';
import type { Clock } from '#runtime/clock.ts';

/** How long a probe's playback token is valid, and when it is replaced. */
const LIFETIME_S = 600;
const RENEW_BEFORE_S = 300;
/** Tokens in memory; one more than that and all are made anew. */
const PASSES_MAX = 10_000;

/**
 * What a probe puts before `/live/{streamId}/…`: nothing for public streams, a playback token of its own for protected
 * ones, so that CDNs and origins treat it as a viewer.
 */
export class ProbePasses {
  readonly #key: AccessKey | undefined;
  readonly #isProtected: (streamId: string) => boolean;
  readonly #clock: Clock;
  readonly #passes = new Map<string, { readonly path: string; readonly expiresAtS: number }>();

  /** @param key undefined when this server was given none: probes then look as a viewer without a token does */
  constructor(key: AccessKey | undefined, isProtected: (streamId: string) => boolean, clock: Clock) {
    this.#key = key;
    this.#isProtected = isProtected;
    this.#clock = clock;
  }

  /** The path of a stream's multivariant playlist, relative to the base URL of a CDN or origin. */
  async masterPath(streamId: string): Promise<string> {
    const path = `/live/${streamId}/master.m3u8`;
    if (this.#key === undefined || !this.#isProtected(streamId)) return path.slice(1);
    const nowS = Math.floor(this.#clock.nowMs() / 1_000);
    const known = this.#passes.get(streamId);
    if (known !== undefined && known.expiresAtS - nowS > RENEW_BEFORE_S) return known.path;
    const expiresAtS = nowS + LIFETIME_S;
    const streams = { match: 'exact', value: streamId } as const;
    const token = await signHmacToken({ streams, expiresAtS, sessionId: 'probe' }, this.#key);
    const pass = { path: withToken(token, path).slice(1), expiresAtS };
    if (this.#passes.size >= PASSES_MAX) this.#passes.clear();
    this.#passes.set(streamId, pass);
    return pass.path;
  }
}
