import { mkdtempSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { FolderObjectStore } from '#runtime/objects/folder-object-store.ts';
import { describeObjectStore } from '#tests/support/object-store-contract.ts';

const folders: string[] = [];
function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'objects-'));
  folders.push(folder);
  return folder;
}
afterEach(() => {
  for (const folder of folders.splice(1)) rmSync(folder, { recursive: true, force: true });
});

describeObjectStore('folder', async () => {
  const folder = makeFolder();
  const store = await FolderObjectStore.open(folder);
  const close = async (): Promise<void> => {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  };
  return { store, close };
});

describe('FolderObjectStore', () => {
  it('removes what a crash has left unfinished', async () => {
    const folder = makeFolder();
    mkdirSync(join(folder, '.unfinished'));
    writeFileSync(join(folder, '.unfinished', 'half'), 'x');
    await FolderObjectStore.open(folder);
    expect(readdirSync(join(folder, '.unfinished'))).toEqual([]);
  });

  it('leaves no empty folders behind', async () => {
    const folder = makeFolder();
    const store = await FolderObjectStore.open(folder);
    await store.put('a/b/c', new Uint8Array(1));
    await store.delete(['a/b/c']);
    expect(readdirSync(folder)).toEqual(['.unfinished']);
  });
});
