import { describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { EventWindow, type EventInput } from '#steering/picture/event-window.ts';

function openedWindow() {
  const clock = new FakeClock();
  const events = new EventWindow({ afterChangeMs: 60_000, troubleMaxMs: 600_000 }, { clock });
  const isOpen = (change: Partial<EventInput> = {}): boolean =>
    events.isOpen({ generation: 4, trouble: '', changeDue: false, ...change });
  return { clock, isOpen };
}

describe('an event', () => {
  it('is not opened by reading the registry for the first time', () => {
    const { isOpen } = openedWindow();
    expect([isOpen({ generation: 0 }), isOpen()]).toEqual([false, false]);
  });

  it('is open for a minute after a change by ops', () => {
    const { clock, isOpen } = openedWindow();
    isOpen();
    expect(isOpen({ generation: 5 })).toBe(true);
    clock.advance(59_000);
    expect(isOpen({ generation: 5 })).toBe(true);
    clock.advance(2_000);
    expect(isOpen({ generation: 5 })).toBe(false);
  });

  it('is open ahead of a change that is due', () => {
    const { isOpen } = openedWindow();
    expect([isOpen({ changeDue: true }), isOpen()]).toEqual([true, false]);
  });

  it('is open while something is wrong, until that has become the normal state', () => {
    const { clock, isOpen } = openedWindow();
    expect(isOpen({ trouble: 'a:ejected' })).toBe(true);
    clock.advance(599_000);
    expect(isOpen({ trouble: 'a:ejected' })).toBe(true);
    clock.advance(2_000);
    expect(isOpen({ trouble: 'a:ejected' })).toBe(false);
    expect(isOpen({ trouble: 'a:ejected,b:suspect' })).toBe(true);
    expect(isOpen()).toBe(false);
  });

  it('does not care what the wall clock does', () => {
    const { clock, isOpen } = openedWindow();
    isOpen();
    isOpen({ generation: 5 });
    clock.stepWallClock(86_400_000);
    expect(isOpen({ generation: 5 })).toBe(true);
    clock.stepWallClock(-2 * 86_400_000);
    clock.advance(61_000);
    expect(isOpen({ generation: 5 })).toBe(false);
  });
});
