import { describe, expect, it } from 'vitest';
import { SABOTAGES } from '#tests/sim/sabotage.ts';
import { SimFailure } from '#tests/sim/sim-world.ts';
import { simulate } from '#tests/sim/simulation.ts';

const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];

/** SIM_SEED runs that one; SIM_RUNS runs so many that nobody has chosen. */
function seeds(): number[] {
  const { SIM_SEED, SIM_RUNS } = process.env;
  if (SIM_SEED !== undefined) return [Number(SIM_SEED)];
  if (SIM_RUNS !== undefined)
    return Array.from({ length: Number(SIM_RUNS) }, () => Math.floor(Math.random() * 2 ** 31));
  return SEEDS;
}

describe('whatever fails', () => {
  it.each(seeds())('viewers are told the truth and go on, seed %i', async (seed) => {
    const { checks } = await simulate({ seed });
    expect(checks.get('sequence numbers never go back')).toBeGreaterThan(100);
  });
});

describe('an origin that is broken is found out', () => {
  const SEEDS_MAX = 24;

  it.each(SABOTAGES)('%s: one that %s', async (invariant, _, sabotage) => {
    let found: unknown;
    for (let seed = 1; found === undefined && seed <= SEEDS_MAX; seed++)
      found = await simulate({ seed, sabotage, viewers: 40 }).then(
        () => undefined,
        (failure: unknown) => failure,
      );
    expect(found).toBeInstanceOf(SimFailure);
    expect(found).toMatchObject({ invariant, message: expect.stringMatching(/^seed \d+ .*SIM_SEED=\d+/s) });
  });
});

it('the same seed gives the same run', async () => {
  const [one, other] = [await simulate({ seed: 3, viewers: 30 }), await simulate({ seed: 3, viewers: 30 })];
  expect([...one.checks]).toEqual([...other.checks]);
  expect(one.checks.size).toBe(8);
});
