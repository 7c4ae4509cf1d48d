import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

const OWNER_ONLY = 0o600;

/**
 * The key of a ready-made stream, kept in a file for its owner's eyes because the registry has only its digest: a
 * restart must not make the broadcaster's settings wrong.
 *
 * @param make called the first time
 */
export function keepStreamKey(path: string, make: () => string): string {
  if (!existsSync(path)) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(path, `${make()}\n`, { mode: OWNER_ONLY, flag: 'wx', flush: true });
  }
  // Copied or restored files may have lost their mode.
  chmodSync(path, OWNER_ONLY);
  return readFileSync(path, 'utf8').trim();
}
