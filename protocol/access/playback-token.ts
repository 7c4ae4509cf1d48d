import type { AccessKey } from '#protocol/access/access-keys.ts';
import { parseCommonAccessToken } from '#protocol/access/common-access-token.ts';
import { HMAC_TOKEN_PREFIX, parseHmacToken } from '#protocol/access/hmac-token.ts';
import type { AccessRefusal, PlaybackGrant } from '#protocol/access/playback-grant.ts';

/** A token taken apart, not verified yet. */
export type ParsedToken = {
  readonly keyId: string;
  readonly mac: Uint8Array<ArrayBuffer>;
  readonly signed: Uint8Array<ArrayBuffer>;
  /** Only for after the MAC has proved right. */
  readonly readGrant: () => PlaybackGrant | AccessRefusal;
};

/** What a token turned out to be, whatever is asked for with it. */
export type TokenVerdict = { readonly grant: PlaybackGrant } | { readonly refusal: AccessRefusal };

/** Longest token that is looked at. */
export const PLAYBACK_TOKEN_CHARS_MAX = 1_024;
/** Characters that both forms of token are made of; all may stand in a path as they are. */
export const PLAYBACK_TOKEN_PATTERN = /^[A-Za-z0-9_~.*-]{1,1024}$/;

/** Verifies a playback token of either form. Never throws, whatever the text is. */
export async function verifyPlaybackToken(token: string, keys: readonly AccessKey[]): Promise<TokenVerdict> {
  if (!PLAYBACK_TOKEN_PATTERN.test(token)) return { refusal: 'token_malformed' };
  const parsed = token.startsWith(HMAC_TOKEN_PREFIX) ? parseHmacToken(token) : parseCommonAccessToken(token);
  if (parsed === undefined) return { refusal: 'token_malformed' };
  const key = keys.find(({ id }) => id === parsed.keyId);
  if (key === undefined) return { refusal: 'token_key_unknown' };
  if (!(await key.verify(parsed.signed, parsed.mac))) return { refusal: 'token_signature_invalid' };
  const grant = parsed.readGrant();
  return typeof grant === 'string' ? { refusal: grant } : { grant };
}
