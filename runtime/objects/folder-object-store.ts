import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readFile, readdir, rm, rmdir, unlink } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import {
  assertObjectKey,
  assertObjectPrefix,
  ObjectKeyError,
  ObjectStoreError,
  type ObjectCall,
  type ObjectStore,
  type PutOutcome,
  type StoredObject,
} from '#runtime/objects/object-store.ts';

/** Where unfinished objects lie; no key can begin with a dot. */
const UNFINISHED = '.unfinished';

/**
 * Objects as files of one folder. An object is written beside its place and then linked to it, so that it is there as a
 * whole or not at all and never replaces another. A crash of the machine may lose the last ones (no fsync): what is kept
 * here is a recording, not a ledger.
 */
export class FolderObjectStore implements ObjectStore {
  readonly #root: string;

  private constructor(root: string) {
    this.#root = root;
  }

  /** @param folder is made when it is not there; what an earlier process left unfinished in it is removed */
  static async open(folder: string): Promise<FolderObjectStore> {
    const root = resolve(folder);
    await rm(join(root, UNFINISHED), { recursive: true, force: true });
    await mkdir(join(root, UNFINISHED), { recursive: true });
    return new FolderObjectStore(root);
  }

  async put(key: string, bytes: Uint8Array<ArrayBuffer>, call: ObjectCall = {}): Promise<PutOutcome> {
    const path = this.#pathOf(key);
    const unfinished = join(this.#root, UNFINISHED, randomUUID());
    try {
      call.signal?.throwIfAborted();
      const file = await open(unfinished, 'wx');
      try {
        await file.writeFile(bytes);
      } finally {
        await file.close();
      }
      return await this.#place(unfinished, path);
    } catch (error) {
      throw toStoreError(error);
    } finally {
      await rm(unfinished, { force: true });
    }
  }

  async get(key: string, call: ObjectCall = {}): Promise<StoredObject | undefined> {
    const path = this.#pathOf(key);
    try {
      const read = await readFile(path, { signal: call.signal });
      return { bytes: new Uint8Array(read.buffer, read.byteOffset, read.byteLength) };
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw toStoreError(error);
    }
  }

  async delete(keys: readonly string[], call: ObjectCall = {}): Promise<void> {
    const paths = keys.map((key) => this.#pathOf(key));
    try {
      for (const path of paths) {
        call.signal?.throwIfAborted();
        await rm(path, { force: true });
      }
    } catch (error) {
      throw toStoreError(error);
    }
    for (const folder of new Set(paths.map((path) => dirname(path)))) await this.#removeEmpty(folder);
  }

  async list(prefix: string, limit: number, call: ObjectCall = {}): Promise<string[]> {
    assertObjectPrefix(prefix);
    const keys: string[] = [];
    const visit = async (key: string): Promise<void> => {
      call.signal?.throwIfAborted();
      for (const entry of await readdir(join(this.#root, key), { withFileTypes: true })) {
        if (keys.length >= limit) return;
        if (entry.isDirectory()) await visit(`${key}/${entry.name}`);
        else keys.push(`${key}/${entry.name}`);
      }
    };
    try {
      await visit(prefix.slice(0, -1));
    } catch (error) {
      if (!isMissing(error)) throw toStoreError(error);
    }
    return keys;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #place(unfinished: string, path: string): Promise<PutOutcome> {
    // A folder that has just become empty may be removed between the two: then once more.
    for (let attempt = 1; ; attempt++) {
      await mkdir(dirname(path), { recursive: true });
      try {
        await link(unfinished, path);
        await unlink(unfinished);
        return 'stored';
      } catch (error) {
        if (codeOf(error) === 'EEXIST') return 'exists';
        if (!isMissing(error) || attempt >= 3) throw error;
      }
    }
  }

  async #removeEmpty(folder: string): Promise<void> {
    for (let path = folder; path.startsWith(this.#root + sep); path = dirname(path)) {
      try {
        await rmdir(path);
      } catch {
        // It is in use, or gone: either way there is nothing to tidy up.
        return;
      }
    }
  }

  /** The pattern lets nothing through that could leave the folder; this says so once more where it matters. */
  #pathOf(key: string): string {
    assertObjectKey(key);
    const path = resolve(this.#root, key);
    if (!path.startsWith(this.#root + sep)) throw new ObjectKeyError('the key leaves the folder');
    return path;
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}

function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'EISDIR'].includes(codeOf(error) ?? '');
}

function toStoreError(error: unknown): ObjectStoreError {
  const code = codeOf(error);
  const isAbort = error instanceof Error && error.name === 'AbortError';
  if (isAbort) return new ObjectStoreError('aborted', 'the call was ended early', { cause: error });
  const isFull = code === 'ENOSPC' || code === 'EDQUOT';
  return new ObjectStoreError(
    isFull ? 'full' : 'unavailable',
    `the folder of objects failed: ${code ?? 'unknown'}`,
    {
      cause: error,
    },
  );
}
