import { describe, expect, it } from 'vitest';
import { steeringTtlS, type SteeringRhythm } from '#protocol/steering/steering-ttl.ts';

function ttlsOf(rhythm: SteeringRhythm, next: { rhythm: 'steady' | 'event'; meanS: number }): number[] {
  return Array.from({ length: 20_000 }, (_, i) =>
    steeringTtlS({ sessionId: `session-${i}`, issuedAtS: 1_800_000_000 + (i % 7), rhythm }, next),
  );
}

const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

describe('TTL', () => {
  it('strays 30 % both ways from the steady mean', () => {
    const ttls = ttlsOf('steady', { rhythm: 'steady', meanS: 25 });
    expect([Math.min(...ttls), Math.max(...ttls)]).toEqual([18, 32]);
    expect(Math.abs(mean(ttls) - 25)).toBeLessThan(0.2);
  });

  it.each<SteeringRhythm>(['none', 'steady', 'event'])(
    'is 5 to 9 s in an event, coming from %s',
    (rhythm) => {
      const ttls = ttlsOf(rhythm, { rhythm: 'event', meanS: 7 });
      expect([Math.min(...ttls), Math.max(...ttls)]).toEqual([5, 9]);
    },
  );

  it.each<SteeringRhythm>(['none', 'event'])(
    'is spread wide when the steady rhythm begins after %s',
    (rhythm) => {
      const ttls = ttlsOf(rhythm, { rhythm: 'steady', meanS: 25 });
      expect([Math.min(...ttls), Math.max(...ttls)]).toEqual([5, 37]);
    },
  );

  it('stays within 5 s and an hour for any mean', () => {
    const ttls = [0.1, 1, 3, 5_000].flatMap((meanS) => ttlsOf('steady', { rhythm: 'steady', meanS }));
    expect(ttls.every((ttl) => Number.isInteger(ttl) && ttl >= 5 && ttl <= 3_600)).toBe(true);
  });

  it('is the same for the same request, and another the next time', () => {
    const session = { sessionId: 'abc', issuedAtS: 1_800_000_000, rhythm: 'steady' as const };
    const next = { rhythm: 'steady' as const, meanS: 25 };
    expect(steeringTtlS(session, next)).toBe(steeringTtlS(session, next));
    const later = Array.from({ length: 20 }, (_, i) =>
      steeringTtlS({ ...session, issuedAtS: session.issuedAtS + i }, next),
    );
    expect(new Set(later).size).toBeGreaterThan(5);
  });
});

describe('a crowd', () => {
  /** Requests in each second when 20,000 sessions join within 5 s and then follow their TTLs. */
  function requestsPerSecond(meanS: number, seconds: number, eventUntilS = 0): number[] {
    const counts = Array.from({ length: seconds }, () => 0);
    for (let i = 0; i < 20_000; i++) {
      let rhythm: SteeringRhythm = 'none';
      let issuedAtS = 0;
      for (let t = (5 * i) / 20_000; t < seconds;) {
        counts[Math.floor(t)] = (counts[Math.floor(t)] ?? 0) + 1;
        const next = t < eventUntilS ? 'event' : 'steady';
        const session = { sessionId: `s${i}`, issuedAtS, rhythm };
        t += 0.04 + steeringTtlS(session, { rhythm: next, meanS: next === 'event' ? 7 : meanS });
        rhythm = next;
        issuedAtS = 1_000 + Math.floor(t);
      }
    }
    return counts;
  }

  it.each([20, 25, 30])('that joins within 5 s asks evenly from the first TTL on (mean %d s)', (meanS) => {
    const peak = Math.max(...requestsPerSecond(meanS, 200).slice(meanS));
    expect(peak / (20_000 / meanS)).toBeLessThan(1.2);
  });

  it('that comes out of an event asks evenly again', () => {
    const peak = Math.max(...requestsPerSecond(25, 200, 60).slice(60 + 25));
    expect(peak / (20_000 / 25)).toBeLessThan(1.2);
  });
});
