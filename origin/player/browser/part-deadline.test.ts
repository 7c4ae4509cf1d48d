import { describe, expect, it } from 'vitest';
import { PartDeadline } from './part-deadline.ts';

describe('the deadline of a part', () => {
  it('is a little over what the part plays, and never less than a slow round trip needs', () => {
    const deadline = new PartDeadline();
    expect(deadline.limitMs(0.2, 0)).toBe(800);
    expect(deadline.limitMs(1, 0)).toBe(1_600);
  });

  it('grows when another CDN is as slow, up to a bound, and is forgotten after a calm minute', () => {
    const deadline = new PartDeadline();
    deadline.timedOut(0);
    deadline.timedOut(1_000);
    expect(deadline.limitMs(0.5, 1_000)).toBe(800);
    deadline.timedOut(2_000);
    expect(deadline.limitMs(0.5, 2_000)).toBe(1_600);
    for (let count = 0; count < 30; count++) deadline.timedOut(3_000);
    expect(deadline.limitMs(0.5, 3_000)).toBe(8_000);
    expect(deadline.limitMs(0.5, 64_000)).toBe(800);
  });
});
