import { createHmac, createSecretKey, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import type { TokenMac } from '#protocol/steering/session-token.ts';

/** A key for session tokens. */
export type TokenKey = { readonly id: number; readonly secret: Uint8Array };

const SECRET_BYTES_MIN = 32;
const KEY_ID_MAX = 4_095;
const KEYS_MAX = 2;
const KEY_FILE = 'steering-token-keys';

/**
 * Keys as a setting writes them: `id:secret[,id:secret]`, secrets in base64url of at least 32 bytes. The first signs, both
 * are accepted. To rotate, put the new key second on all nodes, then first, and take the old one out a day later.
 */
export const TokenKeys = z.string().transform((text, context): readonly TokenKey[] => {
  const keys = text.split(',').map((entry) => /^(\d{1,4}):([A-Za-z0-9_-]+)={0,2}$/.exec(entry.trim()));
  const parsed = keys.flatMap((match) =>
    match === null ? [] : [{ id: Number(match[1]), secret: Buffer.from(match[2] ?? '', 'base64url') }],
  );
  const acceptable =
    parsed.length === keys.length &&
    parsed.length <= KEYS_MAX &&
    new Set(parsed.map(({ id }) => id)).size === parsed.length &&
    parsed.every(({ id, secret }) => id <= KEY_ID_MAX && secret.length >= SECRET_BYTES_MIN);
  if (acceptable) return parsed;
  context.addIssue(
    `expected one or two keys id:secret with different ids from 0 to ${KEY_ID_MAX} and base64url secrets of at least ${SECRET_BYTES_MIN} bytes`,
  );
  return z.NEVER;
});

/**
 * The keys of a node that was given none: kept in its data folder, made the first time. Good for one node; several must
 * be given the same keys, or every change of node makes a viewer a stranger.
 */
export function ownTokenKeys(dataDir: string): readonly TokenKey[] {
  const file = path.join(dataDir, KEY_FILE);
  mkdirSync(dataDir, { recursive: true });
  try {
    const made = `1:${randomBytes(SECRET_BYTES_MIN).toString('base64url')}\n`;
    writeFileSync(file, made, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return TokenKeys.parse(readFileSync(file, 'utf8').trim());
}

/** HMAC with `node:crypto`, which answers at once. The key object spares the key schedule of every call. */
export function nodeTokenMac(key: TokenKey): TokenMac {
  const secret = createSecretKey(key.secret);
  return { keyId: key.id, mac: (text) => createHmac('sha256', secret).update(text).digest('base64url') };
}
