import { createHmac, randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** The pepper cannot be had, or is not the one that the registry was made with. */
export class PepperError extends Error {
  override readonly name = 'PepperError';
  readonly code: 'pepper_malformed' | 'pepper_mismatch';

  constructor(code: PepperError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

const PEPPER_BYTES = 32;

/**
 * The secret under which the registry's digests are made: `configured`, or the one in the file at `path`, which is made
 * with mode 0600 when there is none.
 *
 * @throws {PepperError} `pepper_malformed` when the file holds something else
 */
export function loadPepper(configured: string, path: string): Buffer {
  if (configured !== '') return createHmac('sha256', 'livehls pepper').update(configured).digest();
  const stored = readPepper(path);
  if (stored !== undefined) return stored;
  // Written aside and linked, so that of two processes one wins, and nobody ever reads half a pepper.
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const aside = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  writeFileSync(aside, `${randomBytes(PEPPER_BYTES).toString('hex')}\n`, { mode: 0o600, flush: true });
  try {
    linkSync(aside, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    unlinkSync(aside);
  }
  return loadPepper(configured, path);
}

function readPepper(path: string): Buffer | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  if (!/^[0-9a-f]{64}$/.test(text))
    throw new PepperError('pepper_malformed', `${path} does not hold a pepper (64 hexadecimal digits)`);
  return Buffer.from(text, 'hex');
}

/** What the registry stores to notice another pepper. */
export function pepperCheck(pepper: Buffer): Buffer {
  return createHmac('sha256', pepper).update('pepper check').digest();
}
