import { Counter } from 'prom-client';
import type { AccessKey } from '#protocol/access/access-keys.ts';
import type { AccessRefusal } from '#protocol/access/playback-grant.ts';
import { TokenVerifier } from '#protocol/access/token-verifier.ts';
import type { Clock } from '#runtime/clock.ts';
import { bearerOf, matchesSecret } from '#runtime/http/bearer-auth.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { StreamAccess } from '#origin/registry/stream-record.ts';

export type PlaybackAccessDeps = {
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** Must not wait. */
  readonly accessOf: (streamId: string) => StreamAccess;
};

/** Lets viewers of protected streams in, with a token, and everybody to public ones. */
export class PlaybackAccess {
  readonly #verifier: TokenVerifier;
  readonly #deps: PlaybackAccessDeps;
  readonly #refusals: Counter<'code'>;
  readonly #isPullToken: (presented: string) => boolean;

  /** @param pullTokens with which CDNs, edges and other origins fetch what they have to guard themselves */
  constructor(keys: readonly AccessKey[], pullTokens: readonly string[], deps: PlaybackAccessDeps) {
    this.#isPullToken = matchesSecret(pullTokens);
    this.#verifier = new TokenVerifier(keys);
    this.#deps = deps;
    this.#refusals = new Counter({
      name: 'origin_playback_refusals_total',
      help: 'Requests for protected streams that were turned away, by reason.',
      labelNames: ['code'],
      registers: [deps.metrics],
    });
  }

  /** Whether a stream is for everybody; asked first, because it costs next to nothing. */
  isPublic(streamId: string): boolean {
    return this.#deps.accessOf(streamId) === 'public';
  }

  /**
   * @param token from the path, if there was one
   * @param authorization header of the request; a pull token in it stands for any playback token
   * @param url as asked for, without the token's path prefix
   * @throws {ProblemError} 401 without a token, 403 with a wrong one; neither says more than a code
   */
  async assertMayPlay(token: string | undefined, authorization: string | undefined, url: URL): Promise<void> {
    const bearer = bearerOf(authorization);
    if (bearer !== undefined && this.#isPullToken(bearer)) return;
    const nowS = this.#deps.clock.nowMs() / 1_000;
    const verdict = await this.#verifier.authorise(token, { url, nowS });
    if ('grant' in verdict) return;
    this.#refusals.inc({ code: verdict.refusal });
    throw refused(verdict.refusal);
  }
}

function refused(code: AccessRefusal): ProblemError {
  const status = code === 'token_missing' ? 401 : 403;
  const message =
    status === 401
      ? 'This stream needs a playback token: /t/{token}/live/…'
      : 'The playback token does not open this.';
  return new ProblemError(status, code, message, { headers: { 'cache-control': 'no-store' } });
}
