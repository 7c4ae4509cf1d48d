import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * The key of a ready-made stream, kept in a file of mode 0600 because the registry has only its digest: a restart must
 * not make the broadcaster's settings wrong.
 *
 * @param make called the first time
 */
export function keepStreamKey(path: string, make: () => string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const streamKey = make();
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(path, `${streamKey}\n`, { mode: 0o600, flag: 'wx', flush: true });
  return streamKey;
}
