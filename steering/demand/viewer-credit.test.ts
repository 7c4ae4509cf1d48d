import { describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { DemandMeter } from '#steering/demand/demand-meter.ts';
import { TOKEN_WINDOW_S, ViewerCredit } from '#steering/demand/viewer-credit.ts';

const PER_ADDRESS_MAX = 50;

function counting() {
  const clock = new FakeClock();
  const metrics = createMetrics('test');
  const credit = new ViewerCredit({ perAddressMax: PER_ADDRESS_MAX }, { clock, metrics });
  const demand = new DemandMeter({ clock, metrics });
  let tokens = 0;
  const answer = (address: string | undefined, ttlS: number, tokenId?: string): number => {
    const weight = credit.take({ tokenId, address, weight: 1, ttlS });
    demand.record({ cdn: 'a', streamId: 'live', regionGroup: '', place: {}, ttlS, weight });
    return weight;
  };
  const newToken = (): string => `token-${tokens++}`;
  const viewers = (): number => demand.read().cdns['a'] ?? 0;
  return { clock, metrics, answer, newToken, viewers };
}

describe('ViewerCredit', () => {
  it('counts a token once, however often and from wherever it is sent', async () => {
    const { answer, viewers, clock, metrics } = counting();
    for (let second = 0; second < TOKEN_WINDOW_S - 5; second++) {
      for (let i = 0; i < 20; i++) answer(`198.51.100.${i}`, 25, 'stolen');
      clock.advance(1_000);
      expect(viewers()).toBeLessThanOrEqual(1);
    }
    expect(await metrics.metrics()).toContain('reason="repeated_token"');
  });

  it('counts a token as one viewer at most even when it is sent for an hour', () => {
    const { answer, viewers, clock } = counting();
    for (let second = 0; second < 3_600; second++) {
      answer('198.51.100.1', 25, 'stolen');
      clock.advance(1_000);
      expect(viewers()).toBeLessThanOrEqual(1);
    }
  });

  it.each([5, 7, 25, 32])('counts those behind one address who come back each TTL of %i s', (ttlS) => {
    const { answer, newToken, viewers, clock } = counting();
    const audience = 40;
    let due = 0;
    for (let tenth = 0; tenth < 120 * 10; tenth++) {
      for (due += audience / ttlS / 10; due >= 1; due--) answer('198.51.100.1', ttlS, newToken());
      clock.advance(100);
    }
    expect(viewers()).toBeGreaterThan(audience * 0.9);
  });

  it.each([true, false])('counts no more for an address than its limit (tokens: %s)', (withTokens) => {
    const { answer, newToken, viewers, clock } = counting();
    let most = 0;
    for (let second = 0; second < 120; second++) {
      for (let i = 0; i < 200; i++)
        answer(`2001:db8:0:1${i % 10}::${i}`, 25, withTokens ? newToken() : undefined);
      clock.advance(1_000);
      most = Math.max(most, viewers());
    }
    expect(most).toBeLessThan(1.6 * PER_ADDRESS_MAX);
    expect(viewers()).toBeLessThan(1.2 * PER_ADDRESS_MAX);
    // Others are counted as before.
    expect(answer('203.0.113.1', 25, newToken())).toBe(1);
  });

  it('stays within three times the limit in a rush during an event', () => {
    const { answer, newToken, viewers, clock } = counting();
    for (let second = 0; second < 30; second++) {
      for (let i = 0; i < 1_000; i++) answer('198.51.100.1', 7, newToken());
      clock.advance(1_000);
      expect(viewers()).toBeLessThan(3 * PER_ADDRESS_MAX);
    }
  });

  it('counts a crowd from everywhere, but for 2 % at most', () => {
    const { answer, newToken, clock } = counting();
    let counted = 0;
    const crowd = 300_000;
    for (let viewer = 0; viewer < crowd; viewer++) {
      if (viewer % 10_000 === 0) clock.advance(1_000);
      counted += answer(`${10 + (viewer >> 16)}.${(viewer >> 8) & 255}.${viewer & 255}.1`, 25, newToken());
    }
    expect(counted).toBeGreaterThan(crowd * 0.98);
  });
});
