import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ObjectKeyError, ObjectStoreError, type ObjectStore } from '#runtime/objects/object-store.ts';

/** A store under test, and what it takes to end it. */
export type StoreUnderTest = { readonly store: ObjectStore; readonly close: () => Promise<void> };

const bytesOf = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

/** What every object store must do. */
export function describeObjectStore(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`the object store (${name})`, () => {
    let under: StoreUnderTest;
    let store: ObjectStore;
    beforeAll(async () => {
      under = await open();
      store = under.store;
    });
    afterAll(() => under.close());

    it('gives back the bytes that were put', async () => {
      const bytes = new Uint8Array(300_000).map((_, index) => (index * 7919) % 251);
      expect(await store.put('s/1/720p/10.m4s', bytes)).toBe('stored');
      const read = await store.get('s/1/720p/10.m4s');
      expect(Buffer.compare(read?.bytes ?? new Uint8Array(), bytes)).toBe(0);
    });

    it('keeps an empty object', async () => {
      await store.put('empty/object', new Uint8Array());
      expect((await store.get('empty/object'))?.bytes.length).toBe(0);
    });

    it('never replaces an object', async () => {
      expect(await store.put('once/a', bytesOf('first'))).toBe('stored');
      expect(await store.put('once/a', bytesOf('second'))).toBe('exists');
      expect((await store.get('once/a'))?.bytes).toEqual(bytesOf('first'));
    });

    it('lets one of many writers win', async () => {
      const outcomes = await Promise.all(
        Array.from({ length: 8 }, (_, index) => store.put('race/a', bytesOf(`writer ${index}`))),
      );
      expect(outcomes.filter((outcome) => outcome === 'stored')).toHaveLength(1);
    });

    it('knows what is not there', async () => {
      expect(await store.get('nobody/put/this')).toBeUndefined();
      expect(await store.get('s/1/720p')).toBeUndefined();
    });

    it('deletes objects, also those that are not there, and takes them again', async () => {
      await store.put('gone/a', bytesOf('a'));
      await store.put('gone/b/c', bytesOf('b'));
      await store.delete(['gone/a', 'gone/b/c', 'gone/never']);
      expect(await store.get('gone/a')).toBeUndefined();
      expect(await store.list('gone/', 10)).toEqual([]);
      expect(await store.put('gone/a', bytesOf('again'))).toBe('stored');
    });

    it('lists what lies below a prefix and nothing beside it', async () => {
      for (const key of ['list/a/1', 'list/a/2', 'list/a/b/3', 'list/ab/4'])
        await store.put(key, bytesOf(key));
      expect((await store.list('list/a/', 10)).toSorted()).toEqual(['list/a/1', 'list/a/2', 'list/a/b/3']);
      expect(await store.list('list/a/', 2)).toHaveLength(2);
      expect(await store.list('list/none/', 2)).toEqual([]);
    });

    it.each([
      '',
      '/',
      '/a',
      'a/',
      'a//b',
      '../a',
      'a/../b',
      'a/./b',
      '.hidden',
      'a\0b',
      'a\\b',
      'a b',
      '%2e%2e/a',
      'x'.repeat(600),
    ])('refuses the key %j', async (key) => {
      await expect(store.put(key, bytesOf('x'))).rejects.toBeInstanceOf(ObjectKeyError);
      await expect(store.get(key)).rejects.toBeInstanceOf(ObjectKeyError);
      await expect(store.delete([key])).rejects.toBeInstanceOf(ObjectKeyError);
      await expect(store.list(`${key}/`, 1)).rejects.toBeInstanceOf(ObjectKeyError);
    });

    it('ends a call when its signal says so', async () => {
      const signal = AbortSignal.abort();
      const error: unknown = await store.put('late/a', bytesOf('x'), { signal }).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(ObjectStoreError);
      expect((error as ObjectStoreError).failure).toBe('aborted');
      expect(await store.get('late/a')).toBeUndefined();
    });
  });
}
