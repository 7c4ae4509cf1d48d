import { expect, it } from 'vitest';
import { UsageError, readLatencyOptions } from '#bench/latency/options.ts';

it('has the defaults of the published figures', () => {
  expect(readLatencyOptions([])).toMatchObject({
    seconds: 300,
    partDurationsMs: [333, 200],
    modes: ['bare', 'own'],
    loads: 6,
  });
});

it('reads lists', () => {
  expect(readLatencyOptions(['--part', '200', '--mode', 'own', '--seconds', '30'])).toMatchObject({
    seconds: 30,
    partDurationsMs: [200],
    modes: ['own'],
  });
});

it.each([
  [['--seconds', 'ten'], /--seconds: expected a whole number/],
  [['--mode', 'vlc'], /vlc is not one of bare, own/],
  [['--unknown'], /Unknown option/],
  [['--part', '333,'], /--part: expected/],
])('refuses %s', (args, message) => {
  expect(() => readLatencyOptions(args)).toThrow(message);
  expect(() => readLatencyOptions(args)).toThrow(UsageError);
});
