import { chmodSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keepStreamKey } from '#origin/ready-made-key.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livehls-key-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('keepStreamKey', () => {
  it('makes a key once and keeps it where only its owner can read it', () => {
    const path = join(folder, 'stream-keys', 'demo');
    expect(keepStreamKey(path, () => 'the-key')).toBe('the-key');
    expect(keepStreamKey(path, () => 'another-key')).toBe('the-key');
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('closes a file again that was copied with another mode', () => {
    const path = join(folder, 'demo');
    keepStreamKey(path, () => 'the-key');
    chmodSync(path, 0o644);
    expect(keepStreamKey(path, () => 'another-key')).toBe('the-key');
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });
});
