import { describe, expect, it } from 'vitest';
import { describeDifference } from './audit-list.ts';

describe('describeDifference', () => {
  it.each<[unknown, unknown, string]>([
    [{ weight: 100, a: [1] }, { weight: 50, a: [1] }, 'weight 100 → 50'],
    [
      { probe: { enabled: true } },
      { probe: { enabled: false } },
      'probe {"enabled":true} → {"enabled":false}',
    ],
    [{}, { baseUrl: 'https://x' }, 'baseUrl – → https://x'],
    [null, { weight: 1 }, ''],
    [{ weight: 1 }, null, ''],
    [{}, {}, ''],
  ])('of %j and %j is %j', (before, after, text) => {
    expect(describeDifference(before, after)).toBe(text);
  });
});
