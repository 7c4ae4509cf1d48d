import { describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import { HeldRequests } from '#origin/live/held-requests.ts';
import { LiveMetrics } from '#origin/live/live-metrics.ts';
import { RequestWaiters, StreamHolds } from '#origin/live/request-waiters.ts';

type Limits = { waitersMax?: number; streamWaitersMax?: number; addressWaitersMax?: number };

function setUp(limits: Limits & { releaseSliceSize?: number } = {}) {
  const clock = new FakeClock();
  const metrics = new LiveMetrics(createMetrics('test'));
  const held = new HeldRequests(
    { waitersMax: 100, addressWaitersMax: 100, releaseSliceSize: 10, ...limits },
    { clock, metrics },
  );
  const stream = new StreamHolds(held, limits.streamWaitersMax ?? 100);
  const waiters = new RequestWaiters<number>(stream);
  const outcomes = async (): Promise<Record<string, number>> =>
    Object.fromEntries(
      (await metrics.waits.get()).values.map(({ labels, value }) => [labels.outcome, value]),
    );
  return { clock, metrics, held, stream, waiters, outcomes };
}

const atLeast = (wanted: number) => (state: number) => state >= wanted;
const holdFor = (clock: FakeClock, ms: number, signal = new AbortController().signal) => ({
  deadlineMs: clock.monotonicMs() + ms,
  client: { signal, address: '192.0.2.1' },
});

describe('held requests', () => {
  it('are released by the state they wait for, and each gets that state', async () => {
    const { clock, waiters, stream } = setUp();
    const five = waiters.wait('5', atLeast(5), holdFor(clock, 1_000));
    const six = waiters.wait('6', atLeast(6), holdFor(clock, 1_000));
    waiters.publish(4);
    expect(stream.count).toBe(2);
    waiters.publish(5);
    await expect(five).resolves.toBe(5);
    expect(stream.count).toBe(1);
    waiters.publish(7);
    await expect(six).resolves.toBe(7);
    expect(stream.count).toBe(0);
  });

  it('ask a condition once for all who share it', () => {
    const { clock, waiters } = setUp();
    let asked = 0;
    const isMet = (): boolean => {
      asked += 1;
      return false;
    };
    for (let index = 0; index < 50; index++)
      waiters.wait('x', isMet, holdFor(clock, 1_000)).catch(() => undefined);
    waiters.publish(1);
    expect(asked).toBe(1);
  });

  it('expire with 503 and Retry-After, all by one timer', async () => {
    const { clock, waiters, stream, outcomes } = setUp();
    const held = [1, 2, 3].map(() => waiters.wait('x', atLeast(1), holdFor(clock, 6_000)));
    expect(clock.pendingCount).toBe(1);
    const ended = Promise.allSettled(held);
    clock.advance(5_999);
    expect(stream.count).toBe(3);
    clock.advance(251);
    for (const result of await ended)
      expect(result).toMatchObject({
        reason: { status: 503, code: 'hold_expired', headers: { 'retry-after': '1' } },
      });
    expect(stream.count).toBe(0);
    expect(clock.pendingCount).toBe(0);
    expect(await outcomes()).toEqual({ expired: 3 });
  });

  it('leave nothing behind when the client goes away', async () => {
    const { clock, waiters, stream, metrics, outcomes } = setUp();
    const abort = new AbortController();
    const gone = waiters.wait('x', atLeast(1), holdFor(clock, 1_000, abort.signal));
    abort.abort();
    await expect(gone).rejects.toMatchObject({ code: 'client_gone' });
    expect(stream.count).toBe(0);
    expect((await metrics.waiters.get()).values[0]?.value).toBe(0);
    waiters.publish(1);
    expect(await outcomes()).toEqual({ aborted: 1 });
  });

  it('are not begun for a client that has gone already', async () => {
    const { clock, waiters, stream } = setUp();
    const gone = waiters.wait('x', atLeast(1), holdFor(clock, 1_000, AbortSignal.abort()));
    await expect(gone).rejects.toMatchObject({ code: 'client_gone' });
    expect(stream.count).toBe(0);
  });

  it.each([
    [{ waitersMax: 2 }, 'waiters_exhausted'],
    [{ streamWaitersMax: 2 }, 'stream_waiters_exhausted'],
    [{ addressWaitersMax: 2 }, 'address_waiters_exhausted'],
  ])('are bounded: %o', async (limits, code) => {
    const { clock, waiters, outcomes } = setUp(limits);
    const first = waiters.wait('x', atLeast(1), holdFor(clock, 1_000));
    const second = waiters.wait('y', atLeast(1), holdFor(clock, 1_000));
    const refused = waiters.wait('x', atLeast(1), holdFor(clock, 1_000));
    await expect(refused).rejects.toMatchObject({ status: 503, code, headers: { 'retry-after': '1' } });
    expect(await outcomes()).toEqual({ refused: 1 });
    waiters.publish(1);
    await expect(Promise.all([first, second])).resolves.toEqual([1, 1]);
    const third = waiters.wait('x', atLeast(2), holdFor(clock, 1_000));
    waiters.publish(2);
    await expect(third).resolves.toBe(2);
  });

  it('of one address leave room for those of another', async () => {
    const { clock, waiters } = setUp({ addressWaitersMax: 1 });
    const first = waiters.wait('x', atLeast(1), holdFor(clock, 1_000));
    const { client, deadlineMs } = holdFor(clock, 1_000);
    const elsewhere = { deadlineMs, client: { ...client, address: '192.0.2.2' } };
    const second = waiters.wait('x', atLeast(1), elsewhere);
    waiters.publish(1);
    await expect(Promise.all([first, second])).resolves.toEqual([1, 1]);
  });

  it('are released in slices, between which others get their turn', async () => {
    const { clock, waiters } = setUp({ releaseSliceSize: 10 });
    let released = 0;
    const all = Array.from({ length: 35 }, async () => {
      await waiters.wait('x', atLeast(1), holdFor(clock, 1_000));
      released += 1;
    });
    const seen: number[] = [];
    const watch = (): void => {
      seen.push(released);
      if (released < all.length) setImmediate(watch);
    };
    setImmediate(watch);
    waiters.publish(1);
    await Promise.all(all);
    expect(seen).toEqual([10, 20, 30]);
  });

  it('are all answered at a shutdown, and none is begun after it', async () => {
    const { clock, waiters, held } = setUp();
    const waiting = waiters.wait('x', atLeast(1), holdFor(clock, 1_000));
    const error = new ProblemError(503, 'shutting_down', 'bye');
    held.close(error);
    await expect(waiting).rejects.toBe(error);
    await expect(waiters.wait('x', atLeast(1), holdFor(clock, 1_000))).rejects.toBe(error);
    expect(clock.pendingCount).toBe(0);
  });
});
