import { describe, expect, it } from 'vitest';
import { count, dateTime, duration, percent, words } from './format.ts';

describe('what figures look like', () => {
  it.each([
    [percent(0), '0 %'],
    [percent(0.333), '33 %'],
    [percent(0.0333), '3.3 %'],
    [percent(1), '100 %'],
    [count(7), '7'],
    [count(9_999), '9,999'],
    [count(12_345), '12.3 k'],
    [count(1_234_567), '1.2 M'],
    [duration(1_400), '1 s'],
    [duration(-5), '0 s'],
    [duration(300_000), '5 min'],
    [duration(7_200_000), '2 h'],
    [duration(72 * 3_600_000), '3 d'],
    [dateTime('nonsense'), 'nonsense'],
    [words('playlist_frozen'), 'playlist frozen'],
  ])('%s', (actual, expected) => {
    expect(actual).toBe(expected);
  });
});
