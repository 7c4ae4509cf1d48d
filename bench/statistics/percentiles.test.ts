import { expect, it } from 'vitest';
import { summarise } from '#bench/statistics/percentiles.ts';

it('takes percentiles by nearest rank', () => {
  const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
  expect(summarise(hundred)).toEqual({ count: 100, min: 1, p50: 50, p95: 95, p99: 99, max: 100 });
  expect(summarise([7])).toEqual({ count: 1, min: 7, p50: 7, p95: 7, p99: 7, max: 7 });
});

it('has no figures for no measurements', () => {
  expect(summarise([])).toBeUndefined();
});
