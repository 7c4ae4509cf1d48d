import { bytesToBase64Url } from '#protocol/steering/base64url-number.ts';
import { ACCESS_KEY_ID_PATTERN, base64UrlToBytes, type AccessKey } from '#protocol/access/access-keys.ts';
import type { ParsedToken } from '#protocol/access/playback-token.ts';
import type { PlaybackGrant } from '#protocol/access/playback-grant.ts';

/** Which streams a plain token opens: one, or all whose ids begin so. */
export type HmacClaims = {
  readonly streams: { readonly match: 'exact' | 'prefix'; readonly value: string };
  readonly expiresAtS: number;
  readonly countries?: readonly string[];
  readonly sessionId?: string;
};

/** Plain tokens begin so. */
export const HMAC_TOKEN_PREFIX = '1~';

const STREAM_PATTERN = /^[A-Za-z0-9_-]{1,64}$/;
const SESSION_PATTERN = /^[A-Za-z0-9_-]{0,64}$/;
const COUNTRY_PATTERN = /^[A-Z]{2}$/;
const COUNTRIES_MAX = 64;
const MAC_BYTES = 32;

/**
 * A token that a few lines of any CDN's configuration language can check: `1~key~expiry~streams~countries~session~mac`.
 * Expiry in seconds since the Unix epoch, a `*` after a stream id makes it a prefix, countries are joined by full stops,
 * the last two may be empty; mac is HMAC-SHA-256 in base64url over everything before its tilde. All characters may stand
 * in a path as they are.
 *
 * @throws {RangeError} when a claim does not fit the form
 */
export async function signHmacToken(claims: HmacClaims, key: AccessKey): Promise<string> {
  const { streams, expiresAtS, countries = [], sessionId = '' } = claims;
  if (!STREAM_PATTERN.test(streams.value))
    throw new RangeError('streams are named by 1 to 64 characters of an id');
  if (!SESSION_PATTERN.test(sessionId))
    throw new RangeError('a session has up to 64 letters, digits, "_" and "-"');
  if (!Number.isSafeInteger(expiresAtS) || expiresAtS < 0)
    throw new RangeError('the expiry is in whole seconds');
  if (countries.length > COUNTRIES_MAX || !countries.every((country) => COUNTRY_PATTERN.test(country)))
    throw new RangeError(`countries are up to ${COUNTRIES_MAX} codes of two capitals`);
  const pattern = streams.value + (streams.match === 'prefix' ? '*' : '');
  const body = ['1', key.id, expiresAtS, pattern, countries.join('.'), sessionId].join('~');
  return `${body}~${bytesToBase64Url(await key.sign(new Uint8Array(new TextEncoder().encode(body))))}`;
}

/** The pieces of a plain token; undefined when it is not one. */
export function parseHmacToken(token: string): ParsedToken | undefined {
  const fields = token.split('~');
  const [version, keyId = '', expiry = '', pattern = '', countriesText = '', sessionId = '', macText = ''] =
    fields;
  const isPrefix = pattern.endsWith('*');
  const value = isPrefix ? pattern.slice(0, -1) : pattern;
  const countries = countriesText === '' ? [] : countriesText.split('.');
  const mac = base64UrlToBytes(macText);
  const isWellFormed =
    fields.length === 7 &&
    version === '1' &&
    ACCESS_KEY_ID_PATTERN.test(keyId) &&
    /^\d{1,12}$/.test(expiry) &&
    STREAM_PATTERN.test(value) &&
    countries.length <= COUNTRIES_MAX &&
    countries.every((country) => COUNTRY_PATTERN.test(country)) &&
    SESSION_PATTERN.test(sessionId);
  if (!isWellFormed || mac?.length !== MAC_BYTES) return undefined;
  const grant: PlaybackGrant = {
    // The slash keeps a token for `demo` from opening `demo2`.
    uris: [{ piece: 'path', match: 'prefix', value: `/live/${value}${isPrefix ? '' : '/'}` }],
    expiresAtS: Number(expiry),
    notBeforeS: 0,
    countries,
    sessionId,
  };
  const signed = new Uint8Array(new TextEncoder().encode(token.slice(0, token.lastIndexOf('~'))));
  return { keyId, mac, signed, readGrant: () => grant };
}
