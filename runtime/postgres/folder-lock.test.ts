import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readProcessStart } from '#runtime/postgres/cluster-processes.ts';
import { FolderLock } from '#runtime/postgres/folder-lock.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livehls-lock-'));
  path = join(folder, 'lock');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('FolderLock', () => {
  it('is given once, and again after its release', () => {
    const lock = FolderLock.acquire(path);
    expect(() => FolderLock.acquire(path)).toThrow(`belongs to process ${process.pid}`);
    lock.release();
    FolderLock.acquire(path).release();
    expect(readdirSync(folder)).toEqual([]);
  });

  it.each([
    ['a process that is gone', '4194999 123 x'],
    ['a pid that has come into other hands', `${process.pid} 1 x`],
    ['a file that was never finished', ''],
    ['a file of something else', 'hello\nworld\n'],
  ])('takes over from %s', (_, content) => {
    writeFileSync(path, content);
    const lock = FolderLock.acquire(path);
    expect(readFileSync(path, 'utf8')).toContain(`${process.pid} ${readProcessStart(process.pid) ?? ''}`);
    lock.release();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('does not remove a lock that is somebody else’s by now', () => {
    const lock = FolderLock.acquire(path);
    writeFileSync(path, '1 1 other');
    lock.release();
    expect(existsSync(path)).toBe(true);
  });
});
