import { bytesToBase64Url } from '#protocol/steering/base64url-number.ts';

/** A key of playback tokens: HMAC-SHA-256, 32 bytes or more. */
export type AccessKey = {
  /** As tokens name it: 1 to 16 letters and digits. */
  readonly id: string;
  sign(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
  /** Compares in constant time. */
  verify(bytes: Uint8Array<ArrayBuffer>, mac: Uint8Array<ArrayBuffer>): Promise<boolean>;
};

export const ACCESS_KEY_ID_PATTERN = /^[A-Za-z0-9]{1,16}$/;
export const ACCESS_SECRET_BYTES_MIN = 32;

const HMAC = { name: 'HMAC', hash: 'SHA-256' } as const;

/**
 * @throws {RangeError} when id or secret are not acceptable
 */
export async function importAccessKey(id: string, secret: Uint8Array): Promise<AccessKey> {
  if (!ACCESS_KEY_ID_PATTERN.test(id)) throw new RangeError('a key id has 1 to 16 letters and digits');
  if (secret.length < ACCESS_SECRET_BYTES_MIN)
    throw new RangeError(`a secret has at least ${ACCESS_SECRET_BYTES_MIN} bytes`);
  const key = await crypto.subtle.importKey('raw', new Uint8Array(secret), HMAC, false, ['sign', 'verify']);
  return {
    id,
    sign: async (bytes) => new Uint8Array(await crypto.subtle.sign(HMAC, key, bytes)),
    verify: (bytes, mac) => crypto.subtle.verify(HMAC, key, mac, bytes),
  };
}

/**
 * Keys as a setting writes them: `id:secret[,id:secret]`, secrets in base64url of 32 bytes or more. The first signs, all
 * are accepted. To rotate, put the new key second everywhere, then first, and take the old one out when its tokens have
 * expired.
 *
 * @returns undefined when the text is anything else
 */
export function parseAccessKeys(text: string): readonly AccessKeySecret[] | undefined {
  const keys: { id: string; secret: Uint8Array }[] = [];
  for (const entry of text.split(',')) {
    const match = /^([A-Za-z0-9]{1,16}):([A-Za-z0-9_-]+)={0,2}$/.exec(entry.trim());
    const secret = match === null ? undefined : base64UrlToBytes(match[2] ?? '');
    if (match === null || secret === undefined || secret.length < ACCESS_SECRET_BYTES_MIN) return undefined;
    keys.push({ id: match[1] ?? '', secret });
  }
  const areDistinct = new Set(keys.map(({ id }) => id)).size === keys.length;
  return areDistinct && keys.length <= ACCESS_KEYS_MAX ? keys : undefined;
}

/** A key as it is written down. */
export type AccessKeySecret = { readonly id: string; readonly secret: Uint8Array };

/** What a setting of keys is when it is not given. */
export const NO_ACCESS_KEYS: readonly AccessKeySecret[] = [];

/** Keys that are valid at the same time. */
export const ACCESS_KEYS_MAX = 4;

/** Bytes of base64url without padding; undefined when the text is anything but their one spelling. @spec RFC 4648 §5 */
export function base64UrlToBytes(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return undefined;
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  // The last digit may hold bits that mean nothing: one text per token, so that nobody can make more of one.
  return bytesToBase64Url(bytes) === text ? bytes : undefined;
}
