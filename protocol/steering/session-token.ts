import { hash64, type Hash64 } from '#protocol/placement/hash64.ts';
import {
  bytesToBase64Url,
  fromBase64UrlDigits,
  randomBase64UrlDigits,
  toBase64UrlDigits,
} from '#protocol/steering/base64url-number.ts';
import type { SteeringRhythm } from '#protocol/steering/steering-ttl.ts';

/**
 * The session token in SERVER-URI and RELOAD-URI: all that steering knows about a viewer, so that no server has to
 * remember one. 91 characters of base64url: the claims in digits of fixed width, then an HMAC-SHA-256 over the claims and
 * the stream's id. Authentic, not secret: it holds nothing that the viewer may not read.
 *
 * | digits | field |
 * |---|---|
 * | 1 | version, 1 |
 * | 2 | id of the key, 0…4095 |
 * | 20 | session id, random |
 * | 6, 6 | issued, expires: seconds since the Unix epoch |
 * | 7 | generation of the registry when the session's playlist was written |
 * | 2 | TTL of the answer that carried it, 0 when it came with the playlist |
 * | 1 | rhythm of that answer |
 * | 3 | which pathway that answer put first, as {@link pathwayTag} writes it |
 * | 43 | HMAC of the above, a full stop, and the stream id |
 */
export type SessionClaims = {
  readonly sessionId: string;
  readonly issuedAtS: number;
  readonly expiresAtS: number;
  /** The session's playlist declares the pathways of this generation; 0 when that is not known. */
  readonly generation: number;
  readonly ttlS: number;
  readonly rhythm: SteeringRhythm;
  /** {@link pathwayTag} of the pathway that was put first; 0 when nothing has been answered. */
  readonly assignedTag: number;
};

export const SESSION_TOKEN_VERSION = 1;
export const SESSION_ID_LENGTH = 20;
export const SESSION_TOKEN_LENGTH = 91;
/** A token lives this long; every answer carries a new one, so only a player that slept longer loses its session. */
export const SESSION_TOKEN_LIFETIME_S = 24 * 3_600;
const BODY_LENGTH = 48;
const TTL_DIGITS_MAX = 64 ** 2 - 1;
const RHYTHMS: readonly SteeringRhythm[] = ['none', 'steady', 'event'];

/** Makes the HMAC-SHA-256 of a text with one key, as 43 base64url characters. `node:crypto` can do it at once. */
export type TokenMac = { readonly keyId: number; mac(text: string): string };
/** The same where only WebCrypto is at hand; from {@link importTokenMac}. */
export type AsyncTokenMac = { readonly keyId: number; mac(text: string): Promise<string> };

/** What a token turned out to be. `signature` also covers a token of another stream. */
export type TokenVerdict =
  | { readonly valid: true; readonly claims: SessionClaims }
  | { readonly valid: false; readonly reason: TokenRefusal };
export type TokenRefusal = 'absent' | 'malformed' | 'version' | 'key_unknown' | 'signature' | 'expired';

/** An id for a new session: 120 random bits. */
export function newSessionId(): string {
  return randomBase64UrlDigits(SESSION_ID_LENGTH);
}

/** A pathway id in 18 bits, to know it again among those that there are; never 0. */
export function pathwayTag(pathwayId: string): number {
  return pathwayTagOfHash(hash64(pathwayId));
}

/** {@link pathwayTag} for an id that has been hashed before. */
export function pathwayTagOfHash(hash: Hash64): number {
  const tag = hash.low & 0x3ffff;
  return tag === 0 ? 1 : tag;
}

/**
 * Signs claims for a stream.
 *
 * @throws {RangeError} when a claim does not fit its field
 */
export function signSessionToken(claims: SessionClaims, streamId: string, key: TokenMac): string {
  const body = tokenBody(claims, key.keyId);
  return body + key.mac(signedText(body, streamId));
}

/** {@link signSessionToken} with a WebCrypto key. */
export async function signSessionTokenAsync(
  claims: SessionClaims,
  streamId: string,
  key: AsyncTokenMac,
): Promise<string> {
  const body = tokenBody(claims, key.keyId);
  return body + (await key.mac(signedText(body, streamId)));
}

/**
 * Checks a token that came with a request for `streamId`. Never throws, whatever the text is. A token from the future is
 * accepted: its signature is ours, and a clock that was set back must not make every viewer a stranger.
 *
 * @param keys the keys that are valid now, at most two while they are being rotated
 */
export function verifySessionToken(
  token: string | undefined,
  streamId: string,
  nowS: number,
  keys: readonly TokenMac[],
): TokenVerdict {
  const parsed = parseToken(token);
  if ('reason' in parsed) return { valid: false, reason: parsed.reason };
  const key = keys.find((candidate) => candidate.keyId === parsed.keyId);
  if (key === undefined) return { valid: false, reason: 'key_unknown' };
  return judge(parsed, key.mac(signedText(parsed.body, streamId)), nowS);
}

/** {@link verifySessionToken} with WebCrypto keys. */
export async function verifySessionTokenAsync(
  token: string | undefined,
  streamId: string,
  nowS: number,
  keys: readonly AsyncTokenMac[],
): Promise<TokenVerdict> {
  const parsed = parseToken(token);
  if ('reason' in parsed) return { valid: false, reason: parsed.reason };
  const key = keys.find((candidate) => candidate.keyId === parsed.keyId);
  if (key === undefined) return { valid: false, reason: 'key_unknown' };
  return judge(parsed, await key.mac(signedText(parsed.body, streamId)), nowS);
}

/** A key for WebCrypto; of at least 32 bytes. */
export async function importTokenMac(key: { id: number; secret: Uint8Array }): Promise<AsyncTokenMac> {
  const secret = new Uint8Array(key.secret);
  const hmac = { name: 'HMAC', hash: 'SHA-256' };
  const imported = await crypto.subtle.importKey('raw', secret, hmac, false, ['sign']);
  const encoder = new TextEncoder();
  return {
    keyId: key.id,
    mac: async (text) =>
      bytesToBase64Url(new Uint8Array(await crypto.subtle.sign('HMAC', imported, encoder.encode(text)))),
  };
}

type ParsedToken = {
  readonly keyId: number;
  readonly claims: SessionClaims;
  readonly body: string;
  readonly mac: string;
};

function parseToken(token: string | undefined): ParsedToken | { reason: TokenRefusal } {
  if (token === undefined || token === '') return { reason: 'absent' };
  if (token.length !== SESSION_TOKEN_LENGTH) return { reason: 'malformed' };
  if (fromBase64UrlDigits(token, 0, 1) !== SESSION_TOKEN_VERSION) return { reason: 'version' };
  const keyId = fromBase64UrlDigits(token, 1, 3);
  const issuedAtS = fromBase64UrlDigits(token, 23, 29);
  const expiresAtS = fromBase64UrlDigits(token, 29, 35);
  const generation = fromBase64UrlDigits(token, 35, 42);
  const ttlS = fromBase64UrlDigits(token, 42, 44);
  const rhythm = RHYTHMS[fromBase64UrlDigits(token, 44, 45) ?? -1];
  const assignedTag = fromBase64UrlDigits(token, 45, 48);
  if (
    keyId === undefined ||
    issuedAtS === undefined ||
    expiresAtS === undefined ||
    generation === undefined ||
    ttlS === undefined ||
    rhythm === undefined ||
    assignedTag === undefined
  )
    return { reason: 'malformed' };
  const sessionId = token.slice(3, 3 + SESSION_ID_LENGTH);
  const body = token.slice(0, BODY_LENGTH);
  const claims = { sessionId, issuedAtS, expiresAtS, generation, ttlS, rhythm, assignedTag };
  return { keyId, claims, body, mac: token.slice(BODY_LENGTH) };
}

function judge(parsed: ParsedToken, expectedMac: string, nowS: number): TokenVerdict {
  if (!equalInConstantTime(parsed.mac, expectedMac)) return { valid: false, reason: 'signature' };
  if (parsed.claims.expiresAtS <= nowS) return { valid: false, reason: 'expired' };
  return { valid: true, claims: parsed.claims };
}

function tokenBody(claims: SessionClaims, keyId: number): string {
  if (claims.sessionId.length !== SESSION_ID_LENGTH)
    throw new RangeError(`a session id has ${SESSION_ID_LENGTH} characters`);
  return (
    toBase64UrlDigits(SESSION_TOKEN_VERSION, 1) +
    toBase64UrlDigits(keyId, 2) +
    claims.sessionId +
    toBase64UrlDigits(claims.issuedAtS, 6) +
    toBase64UrlDigits(claims.expiresAtS, 6) +
    toBase64UrlDigits(claims.generation, 7) +
    toBase64UrlDigits(Math.min(claims.ttlS, TTL_DIGITS_MAX), 2) +
    toBase64UrlDigits(RHYTHMS.indexOf(claims.rhythm), 1) +
    toBase64UrlDigits(claims.assignedTag, 3)
  );
}

function signedText(body: string, streamId: string): string {
  return `${body}.${streamId}`;
}

/** Takes the same time wherever the texts differ, so that a MAC cannot be guessed character by character. */
function equalInConstantTime(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}
