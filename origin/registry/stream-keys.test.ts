import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { StreamKeys } from '#origin/registry/stream-keys.ts';

const keys = new StreamKeys(randomBytes(32));

describe('StreamKeys', () => {
  it('makes keys of 256 random bits that carry their id', () => {
    const made = Array.from({ length: 200 }, () => keys.generate());
    for (const { streamKey, keyId } of made) {
      expect(streamKey).toMatch(/^live_[a-z2-7]{12}_[A-Za-z0-9_-]{43}$/);
      expect(streamKey.split('_')[1]).toBe(keyId);
      expect(keys.possibleIds(streamKey)).toContain(keyId);
    }
    expect(new Set(made.map(({ streamKey }) => streamKey)).size).toBe(200);
    expect(new Set(made.map(({ keyId }) => keyId)).size).toBe(200);
  });

  it('recognises its own keys and no others', () => {
    const { streamKey, digest } = keys.generate();
    expect(keys.matches(digest, streamKey)).toBe(true);
    expect(keys.matches(digest, `${streamKey}x`)).toBe(false);
    expect(keys.matches(digest, streamKey.slice(0, -1))).toBe(false);
    expect(keys.matches(digest, streamKey.toUpperCase())).toBe(false);
    expect(keys.matches(digest, '')).toBe(false);
    expect(keys.matches(digest.subarray(1), streamKey)).toBe(false);
    expect(new StreamKeys(randomBytes(32)).matches(digest, streamKey)).toBe(false);
  });

  it('finds a chosen key under the same id every time, and the id says nothing about the key', () => {
    const chosen = keys.choose('a-key-of-my-own');
    expect(keys.possibleIds('a-key-of-my-own')).toEqual([chosen.keyId]);
    expect(chosen.keyId).toMatch(/^chosen-[0-9a-f]{32}$/);
    expect(new StreamKeys(randomBytes(32)).choose('a-key-of-my-own').keyId).not.toBe(chosen.keyId);
    expect(chosen.digest.toString('hex')).not.toContain(chosen.keyId.slice(7));
  });

  it.each(['', 'live_', 'live_abc_def', `live_${'a'.repeat(12)}_${'b'.repeat(42)}`, '\0', '💥'.repeat(50)])(
    'looks for %j as a chosen key only',
    (streamKey) => {
      expect(keys.possibleIds(streamKey)).toHaveLength(1);
    },
  );
});
