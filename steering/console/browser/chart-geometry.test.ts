import { describe, expect, it } from 'vitest';
import { bands, stepPath, type ChartFrame } from './chart-geometry.ts';

const frame: ChartFrame = { fromMs: 0, toMs: 100_000, width: 100, height: 10 };

describe('stepPath', () => {
  it('goes in steps, 1 at the top', () => {
    const points = [
      { atMs: 0, value: 1 },
      { atMs: 10_000, value: 1 },
      { atMs: 20_000, value: 0.5 },
      { atMs: 30_000, value: 0 },
    ];
    expect(stepPath(points, frame)).toBe('M0 0H10H20V5H30V10');
  });
  it('shows gaps, and leaves out what is outside', () => {
    const points = [
      { atMs: -5_000, value: 0 },
      { atMs: 10_000, value: 1 },
      { atMs: 60_000, value: 1 },
      { atMs: 200_000, value: 0 },
    ];
    expect(stepPath(points, frame)).toBe('M10 0M60 0');
  });
  it('keeps values within the frame', () => {
    expect(
      stepPath(
        [
          { atMs: 0, value: 7 },
          { atMs: 5_000, value: -7 },
        ],
        frame,
      ),
    ).toBe('M0 0H5V10');
  });
  it('is empty without points', () => {
    expect(stepPath([], frame)).toBe('');
  });
});

describe('bands', () => {
  it('joins what belongs together and leaves gaps open', () => {
    const points = [
      { atMs: 0, word: 'healthy' },
      { atMs: 10_000, word: 'healthy' },
      { atMs: 20_000, word: 'ejected' },
      { atMs: 80_000, word: 'ejected' },
    ];
    expect(bands(points, frame)).toEqual([
      { word: 'healthy', x: 0, width: 20 },
      { word: 'ejected', x: 20, width: 15 },
      { word: 'ejected', x: 80, width: 15 },
    ]);
  });
});
