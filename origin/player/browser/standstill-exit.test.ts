import type { LevelDetails } from 'hls.js';
import { expect, it } from 'vitest';
import { StandstillExit, type Standstill } from './standstill-exit.ts';

const part = (start: number, gap: boolean, independent = false): object => ({ start, gap, independent });
/** A broadcast that was away from 10 s to 11 s and is back for a second. */
const BACK_AGAIN = {
  live: true,
  partList: [part(9.5, false), part(10, true), part(10.5, true), part(11, false, true), part(11.5, false)],
  fragments: [],
  edge: 12,
  age: 0,
  partTarget: 0.5,
  partHoldBack: 1.5,
} as unknown as LevelDetails;
const ENDED = { live: false, fragments: [{ end: 10 }] } as unknown as LevelDetails;

const standing = (change: Partial<Standstill>): Standstill => ({
  nowMs: 5_000,
  stalledMs: 1_000,
  currentTimeS: 9.95,
  nextRangeS: undefined,
  details: BACK_AGAIN,
  following: true,
  ...change,
});

it.each([
  ['over a hole in the buffer', { stalledMs: 301, nextRangeS: 10.2 }, 10.2],
  ['over a hole before behind a gap', { nextRangeS: 10.2 }, 10.2],
  ['not over a hole that may still be filled', { stalledMs: 300, nextRangeS: 10.2 }, undefined],
  ['behind a gap of the broadcast', {}, 11.01],
  ['not behind a gap before the network had its chance', { stalledMs: 800 }, undefined],
  ['not behind a gap when the viewer chose the position', { following: false }, undefined],
  ['out of a playlist that has ended', { details: ENDED }, 'over'],
  ['not without a playlist', { details: null }, undefined],
] as const)('leads %s', (_, change, exit) => {
  expect(new StandstillExit().find(standing(change))).toBe(exit);
});

it('does not look behind a gap again before the first seek had its chance', () => {
  const exit = new StandstillExit();
  expect(exit.find(standing({}))).toBe(11.01);
  expect(exit.find(standing({ nowMs: 6_499 }))).toBeUndefined();
  expect(exit.find(standing({ nowMs: 6_500 }))).toBe(11.01);
});
