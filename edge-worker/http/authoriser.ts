import type { ViewerPlace } from '#edge-worker/edge-deps.ts';
import { importAccessKey } from '#protocol/access/access-keys.ts';
import { TokenVerifier } from '#protocol/access/token-verifier.ts';

/** What somebody wants to have of a protected stream, as an {@link Authoriser} judges it. */
export type AccessRequest = {
  /** What follows `/t/` in the path, unchecked. */
  readonly token: string | undefined;
  /** The URL that was asked for, with the token's prefix taken out of the path. */
  readonly url: URL;
  readonly place: ViewerPlace;
  readonly nowS: number;
};

/** A status and a code that says why, but nothing more. */
export type Refusal = { readonly status: 401 | 403; readonly code: string };
/** `session` names the viewing session that the token is for; '' when it is for none. */
export type Admission = { readonly session: string };

/** Decides about requests for what an origin calls protected. Never throws. */
export type Authoriser = (request: AccessRequest) => Promise<Admission | Refusal>;

/**
 * Asks for a valid playback token.
 *
 * @param keys those of the origins; without any, nobody gets in
 */
export function tokenAuthoriser(
  keys: readonly { readonly id: string; readonly secret: Uint8Array }[],
): Authoriser {
  let verifier: Promise<TokenVerifier> | undefined;
  return async ({ token, url, place, nowS }) => {
    verifier ??= Promise.all(keys.map(({ id, secret }) => importAccessKey(id, secret))).then(
      (imported) => new TokenVerifier(imported),
    );
    const verdict = await (await verifier).authorise(token, { url, country: place.country, nowS });
    if ('grant' in verdict) return { session: verdict.grant.sessionId };
    return { status: verdict.refusal === 'token_missing' ? 401 : 403, code: verdict.refusal };
  };
}
