import { describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { FailedAuthorisations, toNetwork } from '#origin/sessions/failed-authorisations.ts';

function create(settings: { perMinute?: number; addressesMax?: number } = {}) {
  const clock = new FakeClock();
  const metrics = createMetrics('test');
  const failures = new FailedAuthorisations(
    { perMinute: 6, addressesMax: 100, ...settings },
    { clock, metrics },
  );
  const fail = (address: string, times: number): void => {
    for (let time = 0; time < times; time++) failures.record(address);
  };
  const gauge = async (name: string): Promise<number | undefined> =>
    (await metrics.getSingleMetric(name)?.get())?.values[0]?.value;
  return { clock, failures, fail, gauge };
}

describe('FailedAuthorisations', () => {
  it('lets an address try until it has failed too often, then once more every interval', async () => {
    const { clock, failures, fail, gauge } = create();
    fail('192.0.2.1', 5);
    expect(failures.retryAfterS('192.0.2.1')).toBe(0);
    fail('192.0.2.1', 1);
    expect(failures.retryAfterS('192.0.2.1')).toBe(10);
    expect(await gauge('origin_publish_attempts_refused_total')).toBe(1);
    clock.advance(9_999);
    expect(failures.retryAfterS('192.0.2.1')).toBe(1);
    clock.advance(1);
    expect(failures.retryAfterS('192.0.2.1')).toBe(0);
    fail('192.0.2.1', 1);
    expect(failures.retryAfterS('192.0.2.1')).toBe(10);
  });

  it('forgives an address completely with time, and never more than that', () => {
    const { clock, failures, fail } = create();
    fail('192.0.2.1', 6);
    clock.advance(3_600_000);
    fail('192.0.2.1', 5);
    expect(failures.retryAfterS('192.0.2.1')).toBe(0);
    fail('192.0.2.1', 1);
    expect(failures.retryAfterS('192.0.2.1')).toBeGreaterThan(0);
  });

  it('does not make one address pay for another', () => {
    const { failures, fail } = create();
    fail('192.0.2.1', 20);
    expect(failures.retryAfterS('192.0.2.2')).toBe(0);
  });

  it('does not notice a step of the wall clock', () => {
    const { clock, failures, fail } = create();
    fail('192.0.2.1', 6);
    clock.stepWallClock(3_600_000);
    expect(failures.retryAfterS('192.0.2.1')).toBe(10);
  });

  it('remembers so many addresses and no more, and forgets the one that failed longest ago', async () => {
    const { failures, fail, gauge } = create({ addressesMax: 3 });
    for (const address of ['192.0.2.1', '192.0.2.2', '192.0.2.3']) fail(address, 6);
    fail('192.0.2.1', 1);
    fail('192.0.2.4', 6);
    expect(await gauge('origin_publish_failing_addresses')).toBe(3);
    const blocked = ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4'].map(
      (address) => failures.retryAfterS(address) > 0,
    );
    expect(blocked).toEqual([true, false, true, true]);
  });
});

describe('toNetwork', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
    ['2001:0DB8:0001:0002::9', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['no address', 'no address'],
    ['', ''],
  ])('%s counts as %s', (address, network) => {
    expect(toNetwork(address)).toBe(network);
  });
});
