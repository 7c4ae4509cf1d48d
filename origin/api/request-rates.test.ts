import { beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import { createMetrics, type Metrics } from '#runtime/metrics.ts';
import { BURST_SECONDS, COUNTED_KEYS_MAX, RequestRates } from '#origin/api/request-rates.ts';

describe('RequestRates', () => {
  let clock: FakeClock;
  let metrics: Metrics;
  let rates: RequestRates;
  const PER_SECOND = 4;

  beforeEach(() => {
    clock = new FakeClock();
    metrics = createMetrics('origin');
    rates = new RequestRates(PER_SECOND, { clock, metrics });
  });

  const refusal = (keyId: string): ProblemError | undefined => {
    try {
      rates.take(keyId);
      return undefined;
    } catch (error) {
      if (error instanceof ProblemError) return error;
      throw error;
    }
  };
  const valueOf = async (name: string): Promise<number | undefined> =>
    (await metrics.getSingleMetric(name)?.get())?.values[0]?.value;

  it('lets a key ask so many times at once, then at its pace, and no other key with it', async () => {
    for (let n = 0; n < PER_SECOND * BURST_SECONDS; n++) expect(refusal('one')).toBe(undefined);
    expect(refusal('one')).toMatchObject({
      status: 429,
      code: 'rate_limited',
      headers: { 'retry-after': '1' },
    });
    expect(refusal('two')).toBe(undefined);
    clock.advance(1_000);
    for (let n = 0; n < PER_SECOND; n++) expect(refusal('one')).toBe(undefined);
    expect(refusal('one')?.status).toBe(429);
    expect(await valueOf('origin_api_requests_limited_total')).toBe(2);
  });

  it('counts so many keys at most', async () => {
    for (let n = 0; n < COUNTED_KEYS_MAX + 10; n++) rates.take(`key-${n}`);
    expect(await valueOf('origin_api_rate_keys')).toBe(COUNTED_KEYS_MAX);
  });
});
