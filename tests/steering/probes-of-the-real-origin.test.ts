import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#runtime/clock.ts';
import { readSettings } from '#runtime/config/settings.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { createHealth, type Health } from '#steering/health/create-health.ts';
import { HEALTH_SETTINGS } from '#steering/health/health-settings.ts';
import { Cdn } from '#steering/registry/cdn.ts';
import { startLiveOrigin, type LiveOrigin } from '#tests/support/live-origin.ts';
import { startLocalCdn, type LocalCdn } from '#tests/support/local-cdn.ts';
import { waitFor } from '#tests/support/wait-for.ts';

/** The requirement: from the first fault to the changed factor, at one probe a second. */
const DETECTION_MAX_MS = 5_000;

describe('CDNs in front of the real origin', () => {
  let origin: LiveOrigin;
  let a: LocalCdn;
  let b: LocalCdn;
  let frozen: LocalCdn;
  let health: Health;
  const metrics = createMetrics('steering');

  beforeAll(async () => {
    origin = await startLiveOrigin();
    a = await startLocalCdn('nginx', { originUrl: origin.url });
    b = await startLocalCdn('nginx', { originUrl: origin.url });
    frozen = await startLocalCdn('nginx', { originUrl: origin.url, frozen: true });
    const cdns = Object.entries({ a, b, frozen }).map(([name, { url }]) =>
      Cdn.parse({ name, baseUrl: url, generation: 1, addedGeneration: 1, createdAtMs: 0, updatedAtMs: 0 }),
    );
    health = createHealth(
      readSettings(HEALTH_SETTINGS, {
        STEERING_PROBE_ALLOWED_TARGETS: '127.0.0.1',
        STEERING_HEALTH_EJECTION_MS: '1000',
        STEERING_HEALTH_RAMP_STEP_MS: '1000',
      }),
      { originUrls: [origin.url] },
      {
        clock: systemClock,
        logger: createLogger('test', 'silent'),
        metrics,
        directory: {
          list: () => cdns,
          get: (name) => cdns.find((cdn) => cdn.name === name),
          generation: 1,
          onChange: () => () => undefined,
        },
        liveStreams: () => [origin.streamId],
        experience: { factor: () => 1, onChange: () => () => undefined },
      },
    );
  });
  afterAll(async () => {
    await health.close();
    await Promise.all([a.close(), b.close(), frozen.close()]);
    await origin.close();
  });

  const results = async (): Promise<Record<string, number>> => {
    const { values } = (await metrics.getSingleMetric('steering_probe_results_total')?.get()) ?? {
      values: [],
    };
    return Object.fromEntries(values.map(({ labels, value }) => [`${labels.cdn} ${labels.reason}`, value]));
  };

  it('are healthy when they know LL-HLS, and out when they do not', async () => {
    await waitFor(
      '20 good probes of both',
      async () => {
        const counted = await results();
        return (counted['a ok'] ?? 0) >= 20 && (counted['b ok'] ?? 0) >= 20;
      },
      { deadlineMs: 60_000 },
    );
    expect(origin.refused).toBe(0);
    expect([health.get('a').state, health.get('b').state]).toEqual(['healthy', 'healthy']);
    expect(health.get('frozen')).toMatchObject({ state: 'ejected', factor: 0 });
    const counted = await results();
    // The others are nearly all good: nginx may be late for one of many, but nothing is wrong with it.
    for (const cdn of ['a', 'b']) {
      const bad = Object.entries(counted).filter(([key]) => key.startsWith(`${cdn} `) && key !== `${cdn} ok`);
      expect(bad.reduce((sum, [, count]) => sum + count, 0)).toBeLessThanOrEqual(4);
    }
  });

  it('are found dead within 5 s, and come back', async () => {
    const killedMs = performance.now();
    await a.kill();
    await waitFor('a to fall', () => health.get('a').factor === 0, { intervalMs: 10 });
    expect(performance.now() - killedMs).toBeLessThanOrEqual(DETECTION_MAX_MS);
    await a.start();
    await waitFor('a to come back', () => health.get('a').state === 'healthy', { deadlineMs: 60_000 });
  });

  it('are not blamed when the broadcaster is gone', async () => {
    const before = health.generation;
    origin.pause();
    const from = await results();
    const stale = (counted: Record<string, number>): number =>
      (counted['b reference_stale'] ?? 0) + (counted['b reference_gone'] ?? 0);
    await waitFor('probes without a judgement', async () => stale(await results()) >= stale(from) + 4, {
      deadlineMs: 30_000,
    });
    expect(health.get('b').state).toBe('healthy');
    expect(health.generation).toBe(before);
  });
});
