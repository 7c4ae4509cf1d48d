import { describe, expect, it } from 'vitest';
import { resumePauseMs, retryPauseMs } from './retry-pause.ts';

describe('retryPauseMs', () => {
  it('waits longer after each failure in a row, up to a limit', () => {
    const pauses = [0, 1, 2, 3, 4, 50].map((attempt) => retryPauseMs('network', attempt, 0.5));
    expect(pauses).toEqual([400, 800, 1_600, 3_200, 5_000, 5_000]);
  });

  it('spreads viewers who failed together', () => {
    expect(retryPauseMs('busy', 0, 0)).toBeLessThan(retryPauseMs('busy', 0, 1) ?? 0);
    expect(retryPauseMs('missing', 0, 0)).toBeLessThan(retryPauseMs('missing', 0, 1) ?? 0);
  });

  it.each(['codec', 'unsupported'] as const)('leaves %s to the viewer', (failure) => {
    expect(retryPauseMs(failure, 0, 0.5)).toBeUndefined();
  });
});

describe('resumePauseMs', () => {
  it('gives up in the end, sooner when the stream is gone', () => {
    const tries = (failure: 'network' | 'missing'): number =>
      [0, 1, 2, 3, 4].filter((attempt) => resumePauseMs(failure, attempt) !== undefined).length;
    expect(tries('network')).toBe(4);
    expect(tries('missing')).toBe(2);
  });

  it('does not try when only a new start can help', () => {
    expect(resumePauseMs('media', 0)).toBeUndefined();
    expect(resumePauseMs('codec', 0)).toBeUndefined();
  });
});
