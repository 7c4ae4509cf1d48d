import { createHmac, createSecretKey } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  SESSION_TOKEN_LENGTH,
  importTokenMac,
  newSessionId,
  signSessionToken,
  signSessionTokenAsync,
  verifySessionToken,
  verifySessionTokenAsync,
  type SessionClaims,
  type TokenMac,
} from '#protocol/steering/session-token.ts';

const SECRET = new Uint8Array(32).fill(7);
const NOW_S = 1_800_000_000;

function nodeMac(id: number, secret: Uint8Array = SECRET): TokenMac {
  const key = createSecretKey(secret);
  return { keyId: id, mac: (text) => createHmac('sha256', key).update(text).digest('base64url') };
}

const key = nodeMac(1);
const claims: SessionClaims = {
  sessionId: 'abcdefghijklmnopqrst',
  issuedAtS: NOW_S,
  expiresAtS: NOW_S + 86_400,
  generation: 42,
  ttlS: 25,
  rhythm: 'steady',
  assignedTag: 4711,
};

const claimsArbitrary = fc.record({
  sessionId: fc.stringMatching(/^[A-Za-z0-9_-]{20}$/),
  issuedAtS: fc.integer({ min: 0, max: 4_294_967_295 }),
  expiresAtS: fc.integer({ min: NOW_S + 1, max: 4_294_967_295 }),
  generation: fc.integer({ min: 0, max: 64 ** 7 - 1 }),
  ttlS: fc.integer({ min: 0, max: 3_600 }),
  rhythm: fc.constantFrom('none' as const, 'steady' as const, 'event' as const),
  assignedTag: fc.integer({ min: 0, max: 64 ** 3 - 1 }),
});
const streamArbitrary = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);

describe('a session token', () => {
  it('gives back what was signed, with the MAC of either runtime', async () => {
    const webKey = await importTokenMac({ id: 1, secret: SECRET });
    await fc.assert(
      fc.asyncProperty(claimsArbitrary, streamArbitrary, async (some, streamId) => {
        const token = signSessionToken(some, streamId, key);
        expect(token).toMatch(/^[A-Za-z0-9_-]{91}$/);
        expect(await signSessionTokenAsync(some, streamId, webKey)).toBe(token);
        const verdict = { valid: true, claims: some };
        expect(verifySessionToken(token, streamId, NOW_S, [key])).toEqual(verdict);
        expect(await verifySessionTokenAsync(token, streamId, NOW_S, [webKey])).toEqual(verdict);
      }),
    );
  });

  it('is worth nothing with any one character changed', () => {
    const token = signSessionToken(claims, 'live', key);
    for (let i = 0; i < SESSION_TOKEN_LENGTH; i++) {
      const other = token[i] === 'A' ? 'B' : 'A';
      const forged = token.slice(0, i) + other + token.slice(i + 1);
      expect(verifySessionToken(forged, 'live', NOW_S, [key]).valid).toBe(false);
    }
  });

  it('is worth nothing on another stream', () => {
    const token = signSessionToken(claims, 'live', key);
    expect(verifySessionToken(token, 'live2', NOW_S, [key])).toEqual({ valid: false, reason: 'signature' });
  });

  it('never throws, whatever comes as a token', () => {
    const text = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary', minLength: 91, maxLength: 91 }),
      fc.stringMatching(/^B[A-Za-z0-9_-]{90}$/),
    );
    fc.assert(
      fc.property(text, (token) => {
        expect(verifySessionToken(token, 'live', NOW_S, [key]).valid).toBe(false);
      }),
      { numRuns: 1_000 },
    );
  });

  it.each([
    [undefined, 'absent'],
    ['', 'absent'],
    ['B', 'malformed'],
    [`C${'A'.repeat(90)}`, 'version'],
    [`B${'A'.repeat(90)}`, 'key_unknown'],
    [`BAB${'!'.repeat(88)}`, 'malformed'],
    [`BAB${'A'.repeat(88)}`, 'signature'],
  ])('%s is refused as %s', (token, reason) => {
    expect(verifySessionToken(token, 'live', NOW_S, [key])).toEqual({ valid: false, reason });
  });

  it('expires, and is taken when it comes from a clock that is ahead', () => {
    const token = signSessionToken(claims, 'live', key);
    expect(verifySessionToken(token, 'live', claims.expiresAtS, [key])).toEqual({
      valid: false,
      reason: 'expired',
    });
    expect(verifySessionToken(token, 'live', NOW_S - 36_000, [key]).valid).toBe(true);
  });

  it('stays valid while its key is being replaced, and no longer', () => {
    const next = nodeMac(2, new Uint8Array(32).fill(9));
    const token = signSessionToken(claims, 'live', key);
    expect(verifySessionToken(token, 'live', NOW_S, [next, key]).valid).toBe(true);
    expect(verifySessionToken(token, 'live', NOW_S, [next])).toEqual({ valid: false, reason: 'key_unknown' });
    const sameId = nodeMac(1, new Uint8Array(32).fill(9));
    expect(verifySessionToken(token, 'live', NOW_S, [sameId])).toEqual({ valid: false, reason: 'signature' });
  });

  it.each([{ issuedAtS: -1 }, { expiresAtS: 1.5 }, { generation: 64 ** 7 }, { sessionId: 'short' }])(
    'cannot be made of %j',
    (bad) => {
      expect(() => signSessionToken({ ...claims, ...bad }, 'live', key)).toThrow(RangeError);
    },
  );

  it('has a session id of its own each time', () => {
    const ids = new Set(Array.from({ length: 1_000 }, newSessionId));
    expect(ids.size).toBe(1_000);
    expect([...ids].every((id) => /^[A-Za-z0-9_-]{20}$/.test(id))).toBe(true);
  });
});
