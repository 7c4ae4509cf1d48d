import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadPepper, pepperCheck } from '#origin/registry/pepper.ts';
import { SealedJson } from '#origin/registry/sealed-json.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livehls-pepper-'));
  path = join(folder, 'data', 'key-pepper');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('loadPepper', () => {
  it('makes one the first time, for the owner’s eyes only, and the same ever after', () => {
    const pepper = loadPepper('', path);
    expect(pepper).toHaveLength(32);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(loadPepper('', path)).toEqual(pepper);
    expect(readdirSync(join(folder, 'data'))).toEqual(['key-pepper']);
  });

  it('makes different ones', () => {
    expect(loadPepper('', path)).not.toEqual(loadPepper('', join(folder, 'other')));
  });

  it('prefers the one that is configured, and writes nothing', () => {
    const configured = 'configured-pepper-of-32-characters';
    expect(loadPepper(configured, path)).toEqual(loadPepper(configured, join(folder, 'other')));
    expect(loadPepper(configured, path)).not.toEqual(loadPepper(`${configured}.`, path));
    expect(readdirSync(folder)).toEqual([]);
  });

  it.each(['', 'not hexadecimal', 'ab'.repeat(31)])('refuses a file with %j', (content) => {
    loadPepper('', path);
    writeFileSync(path, content);
    expect(() => loadPepper('', path)).toThrow(expect.objectContaining({ code: 'pepper_malformed' }));
    expect(readFileSync(path, 'utf8')).toBe(content);
  });
});

describe('pepperCheck', () => {
  it('tells peppers apart and does not give them away', () => {
    const pepper = loadPepper('', path);
    expect(pepperCheck(pepper)).toEqual(pepperCheck(pepper));
    expect(pepperCheck(pepper)).not.toEqual(pepper);
    expect(pepperCheck(pepper)).not.toEqual(pepperCheck(loadPepper('', join(folder, 'other'))));
  });
});

describe('SealedJson', () => {
  const value = { streamKey: 'a secret', nested: [1, null, 'ü'] };

  it('gives back what was sealed, to the holder of the pepper', () => {
    const pepper = loadPepper('', path);
    const sealed = new SealedJson(pepper).seal(value);
    expect(new SealedJson(pepper).open(sealed)).toEqual(value);
    expect(sealed.toString('latin1')).not.toContain('a secret');
  });

  it('never seals the same way twice', () => {
    const box = new SealedJson(loadPepper('', path));
    expect(box.seal(value)).not.toEqual(box.seal(value));
  });

  it('opens nothing that was changed or sealed by another', () => {
    const box = new SealedJson(loadPepper('', path));
    const sealed = box.seal(value);
    for (const index of [0, 12, 28, sealed.length - 1]) {
      const changed = Buffer.from(sealed);
      changed[index] = (changed[index] ?? 0) ^ 1;
      expect(() => box.open(changed)).toThrow('unable to authenticate data');
    }
    expect(() => box.open(sealed.subarray(0, 20))).toThrow('authentication tag');
    const other = new SealedJson(loadPepper('', join(folder, 'other')));
    expect(() => other.open(sealed)).toThrow('unable to authenticate data');
  });
});
