import { decode, encode, Tagged } from 'cborg';
import { bytesToBase64Url } from '#protocol/steering/base64url-number.ts';
import { ACCESS_KEY_ID_PATTERN, base64UrlToBytes, type AccessKey } from '#protocol/access/access-keys.ts';
import type { ParsedToken } from '#protocol/access/playback-token.ts';
import type { AccessRefusal, PlaybackGrant, UriPiece, UriRule } from '#protocol/access/playback-grant.ts';

/** @spec RFC 8392 §6, RFC 9052 §2: CWT around COSE_Mac0 */
const TAG_CWT = 61;
const TAG_COSE_MAC0 = 17;
/** Addresses in claims, to be told from damage. @spec RFC 9164 §3 */
const TAGS_IP = [52, 54];
/** @spec RFC 9052 §3.1 */
const HEADER_ALG = 1;
const HEADER_KID = 4;
/** HMAC 256/256. @spec RFC 9053 §3.1 */
const ALG_HS256 = 5;
const MAC_BYTES = 32;

/** @spec RFC 8392 §3.1, CTA-5007-B §4 */
const CLAIM = {
  iss: 1,
  sub: 2,
  exp: 4,
  nbf: 5,
  iat: 6,
  cti: 7,
  catv: 310,
  catu: 312,
  catm: 313,
  country: 316,
} as const;
/** Claims that limit nothing when they are not obeyed: a renewal, and what to do for those who are refused. */
const HARMLESS_CLAIMS: ReadonlySet<number> = new Set([CLAIM.iss, CLAIM.iat, CLAIM.cti, 322, 323]);
const PIECES: ReadonlyMap<unknown, UriPiece> = new Map([
  [0, 'scheme'],
  [1, 'host'],
  [2, 'port'],
  [3, 'path'],
  [5, 'parent-path'],
  [6, 'filename'],
  [7, 'stem'],
  [8, 'extension'],
]);
const MATCHES: ReadonlyMap<unknown, UriRule['match']> = new Map([
  [0, 'exact'],
  [1, 'prefix'],
  [2, 'suffix'],
  [3, 'contains'],
]);
const RULES_MAX = 16;
const COUNTRIES_MAX = 256;

export type CommonAccessClaims = {
  readonly issuer: string;
  /** Path of what may be asked for, with the match of the claim `catu`. */
  readonly path: { readonly match: 'exact' | 'prefix'; readonly value: string };
  readonly issuedAtS: number;
  readonly expiresAtS: number;
  readonly countries?: readonly string[];
  /** Becomes `sub`. */
  readonly sessionId?: string;
};

/** Writes a Common Access Token: a CWT with HMAC-SHA-256, as base64url. @spec CTA-5007-B, RFC 8392 §7.1 */
export async function signCommonAccessToken(claims: CommonAccessClaims, key: AccessKey): Promise<string> {
  const { issuer, path, issuedAtS, expiresAtS, countries = [], sessionId = '' } = claims;
  const payload = encode(
    new Map<number, unknown>([
      [CLAIM.iss, issuer],
      ...(sessionId === '' ? [] : [[CLAIM.sub, sessionId] as const]),
      [CLAIM.exp, expiresAtS],
      [CLAIM.iat, issuedAtS],
      [CLAIM.catv, 1],
      [CLAIM.catu, new Map([[3, new Map([[path.match === 'exact' ? 0 : 1, path.value]])]])],
      ...(countries.length === 0 ? [] : [[CLAIM.country, countries] as const]),
    ]),
  );
  const protectedHeader = encode(new Map([[HEADER_ALG, ALG_HS256]]));
  const unprotected = new Map([[HEADER_KID, new TextEncoder().encode(key.id)]]);
  const mac = await key.sign(macStructure(protectedHeader, payload));
  const message = new Tagged(TAG_COSE_MAC0, [protectedHeader, unprotected, payload, mac]);
  return bytesToBase64Url(encode(new Tagged(TAG_CWT, message)));
}

/** The pieces of a Common Access Token; undefined when it is not one, or not of the one algorithm that is accepted. */
export function parseCommonAccessToken(token: string): ParsedToken | undefined {
  const bytes = base64UrlToBytes(token);
  if (bytes === undefined) return undefined;
  const [protectedHeader, unprotected, payload, mac] = messageOf(bytes) ?? [];
  if (!isBytes(protectedHeader) || !(unprotected instanceof Map) || !isBytes(payload) || !isBytes(mac))
    return undefined;
  const headers = decodeMap(protectedHeader);
  const kid: unknown = headers?.get(HEADER_KID) ?? unprotected.get(HEADER_KID);
  const keyId = isBytes(kid) ? new TextDecoder().decode(kid) : undefined;
  if (headers?.get(HEADER_ALG) !== ALG_HS256 || mac.length !== MAC_BYTES) return undefined;
  if (keyId === undefined || !ACCESS_KEY_ID_PATTERN.test(keyId)) return undefined;
  return {
    keyId,
    mac,
    signed: macStructure(protectedHeader, payload),
    readGrant: () => readClaims(payload),
  };
}

function messageOf(bytes: Uint8Array): readonly unknown[] | undefined {
  const outer = attempt(() => decode(bytes, DECODE_OPTIONS) as unknown);
  const message: unknown = outer instanceof Tagged && outer.tag === TAG_CWT ? outer.value : outer;
  if (!(message instanceof Tagged) || message.tag !== TAG_COSE_MAC0) return undefined;
  const fields: unknown = message.value;
  return Array.isArray(fields) && fields.length === 4 ? fields : undefined;
}

/** Reads what is signed already. A claim that would narrow the grant and is not understood refuses the token. */
function readClaims(payload: Uint8Array): PlaybackGrant | AccessRefusal {
  const claims = decodeMap(payload);
  if (claims === undefined) return 'token_malformed';
  const expiresAtS: unknown = claims.get(CLAIM.exp);
  const notBeforeS: unknown = claims.get(CLAIM.nbf) ?? 0;
  const subject: unknown = claims.get(CLAIM.sub) ?? '';
  const countries: unknown = claims.get(CLAIM.country) ?? [];
  const methods: unknown = claims.get(CLAIM.catm) ?? ['GET'];
  const uris = readUriRules(claims.get(CLAIM.catu));
  const isWellFormed =
    typeof expiresAtS === 'number' &&
    typeof notBeforeS === 'number' &&
    typeof subject === 'string' &&
    subject.length <= 256 &&
    isTextList(countries, COUNTRIES_MAX) &&
    isTextList(methods, 16);
  if (!isWellFormed) return 'token_malformed';
  const known: readonly number[] = Object.values(CLAIM);
  for (const label of claims.keys())
    if (typeof label !== 'number' || !(known.includes(label) || HARMLESS_CLAIMS.has(label)))
      return 'token_claim_unsupported';
  if ((claims.get(CLAIM.catv) ?? 1) !== 1 || uris === undefined) return 'token_claim_unsupported';
  if (!methods.includes('GET')) return 'token_claim_unsupported';
  return {
    uris,
    expiresAtS,
    notBeforeS,
    countries: countries.map((country) => country.toUpperCase()),
    sessionId: subject,
  };
}

/** Undefined when it asks for a match that is not supported, regular expressions and digests among them. */
function readUriRules(claim: unknown): readonly UriRule[] | undefined {
  if (!(claim instanceof Map)) return undefined;
  const rules: UriRule[] = [];
  for (const [pieceLabel, matches] of claim as ReadonlyMap<unknown, unknown>) {
    const piece = PIECES.get(pieceLabel);
    if (piece === undefined || !(matches instanceof Map)) return undefined;
    for (const [matchLabel, value] of matches as ReadonlyMap<unknown, unknown>) {
      const match = MATCHES.get(matchLabel);
      if (match === undefined || typeof value !== 'string') return undefined;
      rules.push({ piece, match, value });
    }
  }
  return rules.length > 0 && rules.length <= RULES_MAX ? rules : undefined;
}

const DECODE_OPTIONS = {
  useMaps: true,
  allowIndefinite: false,
  rejectDuplicateMapKeys: true,
  tags: Tagged.preserve(TAG_CWT, TAG_COSE_MAC0),
};

/** @spec RFC 9052 §6.3 */
function macStructure(protectedHeader: Uint8Array, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(encode(['MAC0', protectedHeader, new Uint8Array(0), payload]));
}

function decodeMap(bytes: Uint8Array): ReadonlyMap<unknown, unknown> | undefined {
  const value = attempt(
    () => decode(bytes, { ...DECODE_OPTIONS, tags: Tagged.preserve(...TAGS_IP) }) as unknown,
  );
  return value instanceof Map ? (value as ReadonlyMap<unknown, unknown>) : undefined;
}

/** The codec throws for whatever is not CBOR, and that is all that there is to say. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function isBytes(value: unknown): value is Uint8Array<ArrayBuffer> {
  return value instanceof Uint8Array;
}

function isTextList(value: unknown, max: number): value is readonly string[] {
  return Array.isArray(value) && value.length <= max && value.every((entry) => typeof entry === 'string');
}
