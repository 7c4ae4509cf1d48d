import { describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { SilenceWatch } from './silence-watch.ts';

describe('a watch for silence', () => {
  it('calls back once, a moment after the limit', () => {
    const clock = new FakeClock();
    let calls = 0;
    const watch = new SilenceWatch(clock, 3_000, () => calls++);
    clock.advance(1_000);
    watch.heard();
    clock.advance(2_999);
    expect(calls).toBe(0);
    clock.advance(100);
    expect(calls).toBe(1);
    clock.advance(60_000);
    expect(calls).toBe(1);
    expect(watch.heardMs).toBe(1_000);
  });

  it('takes what is heard at the last moment', () => {
    const clock = new FakeClock();
    let calls = 0;
    const watch = new SilenceWatch(clock, 3_000, () => calls++);
    // The process was held up: the timer is due, and the bytes that had come are read right after it.
    clock.advance(3_000);
    watch.heard();
    clock.advance(2_999);
    expect(calls).toBe(0);
    clock.advance(100);
    expect(calls).toBe(1);
  });

  it('leaves no timer behind when it is stopped', () => {
    const clock = new FakeClock();
    const watch = new SilenceWatch(clock, 3_000, () => expect.unreachable());
    watch.stop();
    clock.advance(10_000);
    expect(clock.pendingCount).toBe(0);
  });
});
