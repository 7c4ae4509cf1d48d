import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import {
  ACCESS_SECRET_BYTES_MIN,
  NO_ACCESS_KEYS,
  parseAccessKeys,
  type AccessKeySecret,
} from '#protocol/access/access-keys.ts';

/** {@link parseAccessKeys} as a setting; '' means none. */
export const AccessKeys = z.string().transform((text, context): readonly AccessKeySecret[] => {
  const keys = text === '' ? NO_ACCESS_KEYS : parseAccessKeys(text);
  if (keys !== undefined) return keys;
  context.addIssue(
    'expected up to 4 keys id:secret, ids of letters and digits, secrets of 32 bytes or more in base64url',
  );
  return z.NEVER;
});

/**
 * The keys of an origin that was given none: kept in a file for its owner's eyes, made the first time. Good for one
 * origin; several, and every edge and CDN that checks tokens, must be given the same.
 */
export function keepAccessKeys(path: string): readonly AccessKeySecret[] {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const made = `k1:${randomBytes(ACCESS_SECRET_BYTES_MIN).toString('base64url')}\n`;
  try {
    writeFileSync(path, made, { flag: 'wx', mode: 0o600, flush: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return AccessKeys.parse(readFileSync(path, 'utf8').trim());
}
