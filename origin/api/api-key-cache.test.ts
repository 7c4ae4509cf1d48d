import { beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { DatabaseUnavailableError } from '#runtime/postgres/database-errors.ts';
import {
  API_KEY_FRESH_MS,
  API_KEY_STALE_MS,
  API_KEYS_CACHED_MAX,
  ApiKeyCache,
} from '#origin/api/api-key-cache.ts';
import type { ApiKeyRecord } from '#origin/registry/api-keys-table.ts';

describe('ApiKeyCache', () => {
  let clock: FakeClock;
  let keys: Map<string, ApiKeyRecord>;
  let asked: number;
  let isAway: boolean;
  let cache: ApiKeyCache;

  const add = (presented: string, notAfterMs: number | null = null): void =>
    void keys.set(presented, {
      id: `id-of-${presented}`,
      tenantId: 'default',
      name: presented,
      scopes: ['admin'],
      createdAtMs: 0,
      notAfterMs,
      lastUsedAtMs: null,
    });

  beforeEach(() => {
    clock = new FakeClock();
    keys = new Map();
    asked = 0;
    isAway = false;
    const recognise = async (presented: string): Promise<ApiKeyRecord | undefined> => {
      asked++;
      if (isAway) throw new DatabaseUnavailableError('away', 'it is away');
      return keys.get(presented);
    };
    cache = new ApiKeyCache({ recognise }, clock);
  });

  it('asks for a key once in a while, and sees that it was deleted', async () => {
    add('one');
    for (let n = 0; n < 5; n++) expect((await cache.recognise('one'))?.id).toBe('id-of-one');
    expect(asked).toBe(1);
    keys.clear();
    clock.advance(API_KEY_FRESH_MS);
    expect(await cache.recognise('one')).toBe(undefined);
    expect(asked).toBe(2);
    expect(await cache.recognise('one')).toBe(undefined);
    expect(asked).toBe(2);
  });

  it('forgets a key that was deleted here at once', async () => {
    add('one');
    await cache.recognise('one');
    keys.clear();
    cache.forget('id-of-one');
    expect(await cache.recognise('one')).toBe(undefined);
  });

  it('ends a key with its time, to the moment', async () => {
    add('one', clock.nowMs() + 500);
    expect((await cache.recognise('one'))?.id).toBe('id-of-one');
    clock.advance(500);
    expect(await cache.recognise('one')).toBe(undefined);
    expect(asked).toBe(1);
  });

  it('believes what it knows while the database is away, for a while', async () => {
    add('one', clock.nowMs() + API_KEY_STALE_MS * 2);
    add('short', clock.nowMs() + 60_000);
    await cache.recognise('one');
    await cache.recognise('short');
    isAway = true;
    clock.advance(60_000);
    expect((await cache.recognise('one'))?.id).toBe('id-of-one');
    expect(await cache.recognise('short')).toBe(undefined);
    await expect(cache.recognise('two')).rejects.toThrow(DatabaseUnavailableError);
    clock.advance(API_KEY_STALE_MS);
    await expect(cache.recognise('one')).rejects.toThrow(DatabaseUnavailableError);
  });

  it('remembers so many, and none that was made up', async () => {
    for (let n = 0; n < 10; n++) expect(await cache.recognise(`made-up-${n}`)).toBe(undefined);
    expect(cache.size).toBe(0);
    for (let n = 0; n <= API_KEYS_CACHED_MAX; n++) {
      add(`key-${n}`);
      await cache.recognise(`key-${n}`);
    }
    expect(cache.size).toBe(API_KEYS_CACHED_MAX);
  });
});
