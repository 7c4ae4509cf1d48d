import { describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { GapCadence } from '#origin/live/gap-cadence.ts';

describe('§6.2.1 a new part within one Part Target Duration', () => {
  it('makes up for the cells that have passed, then goes on in real time without drift', () => {
    const clock = new FakeClock();
    const lastPartMs = clock.monotonicMs();
    clock.advance(1_000);
    const due: [number, number][] = [];
    const cadence = new GapCadence(clock, 1000 / 3, lastPartMs, (cells) =>
      due.push([cells, Math.round(clock.monotonicMs())]),
    );
    clock.advance(1_000);
    expect(due).toEqual([
      [3, 1_000],
      [4, 1_333],
      [5, 1_667],
      [6, 2_000],
    ]);
    clock.advance(3_600_000);
    expect(due.at(-1)).toEqual([6 + 3 * 3_600, 3_602_000]);
    cadence.stop();
    clock.advance(10_000);
    expect(due).toHaveLength(4 + 3 * 3_600);
    expect(clock.pendingCount).toBe(0);
  });
});
