import { beforeEach, describe, expect, it } from 'vitest';
import { SharedPulls } from '#origin/cluster/shared-pulls.ts';
import { ClientGoneError } from '#origin/live/held-requests.ts';
import { createTestOrigin, type TestOrigin } from '#origin/live/testing/test-publisher.ts';

/** A pull that ends when the test says so. */
class Pull {
  readonly result = Promise.withResolvers<string>();
  signal: AbortSignal | undefined;
  count = 0;
  readonly start = (signal: AbortSignal): Promise<string> => {
    this.count += 1;
    this.signal = signal;
    return this.result.promise;
  };
}

describe('pulls that are shared', () => {
  let origin: TestOrigin;
  let pulls: SharedPulls<string>;
  let pull: Pull;
  beforeEach(() => {
    origin = createTestOrigin({ waitersMax: 5 });
    pulls = new SharedPulls({ waitersMax: 3 }, { holds: origin.streams.holds, clock: origin.clock });
    pull = new Pull();
  });
  const join = (key = 'key', client = new AbortController()): Promise<string> =>
    pulls.join(key, pull.start, { holdMs: 1_000, client });

  it('are made once for all who want the same', async () => {
    const all = [join(), join(), join()];
    pull.result.resolve('bytes');
    expect(await Promise.all(all)).toEqual(['bytes', 'bytes', 'bytes']);
    expect(pull.count).toBe(1);
    expect(pulls.size).toBe(0);
  });

  it('give their failure to all who wait, and are made anew for whoever comes then', async () => {
    const both = [join(), join()];
    pull.result.reject(new Error('gone'));
    for (const one of both) await expect(one).rejects.toThrow('gone');
    pull = new Pull();
    const next = join();
    pull.result.resolve('bytes');
    expect(await next).toBe('bytes');
  });

  it('go on when one leaves, and are given up when the last one has', async () => {
    const [first, second] = [new AbortController(), new AbortController()];
    const [one, two] = [join('key', first), join('key', second)];
    first.abort();
    await expect(one).rejects.toBeInstanceOf(ClientGoneError);
    expect(pull.signal?.aborted).toBe(false);
    second.abort();
    await expect(two).rejects.toBeInstanceOf(ClientGoneError);
    expect(pull.signal?.aborted).toBe(true);
    expect(pulls.size).toBe(0);
    expect(origin.streams.holds.count).toBe(0);
  });

  it('are waited for only so long, each waiter by its own clock', async () => {
    const early = join();
    origin.clock.advance(600);
    const late = join();
    origin.clock.advance(600);
    await expect(early).rejects.toMatchObject({ status: 503, code: 'hold_expired' });
    pull.result.resolve('bytes');
    expect(await late).toBe('bytes');
  });

  it('hold as many requests as they may, for one thing and in all', async () => {
    const three = [join(), join(), join()];
    await expect(join()).rejects.toMatchObject({ code: 'stream_waiters_exhausted' });
    const more = [join('other'), join('other')];
    await expect(join('another')).rejects.toMatchObject({ code: 'waiters_exhausted' });
    pull.result.resolve('bytes');
    expect(await Promise.all([...three, ...more])).toHaveLength(5);
    expect(pulls.size).toBe(0);
  });
});
