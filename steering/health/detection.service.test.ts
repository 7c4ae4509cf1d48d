import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#runtime/clock.ts';
import { readSettings } from '#runtime/config/settings.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { createHealth, type Health } from '#steering/health/create-health.ts';
import { HEALTH_SETTINGS } from '#steering/health/health-settings.ts';
import { Cdn, type CdnDirectory } from '#steering/registry/cdn.ts';
import { startFaultProxy, type FaultProxy } from '#tests/support/fault-proxy.ts';
import { startFaultyCdn, type FaultyCdn, type HttpFault } from '#tests/support/faulty-cdn.ts';
import { startLocalCdn, type LocalCdn } from '#tests/support/local-cdn.ts';
import { startSyntheticOrigin, type SyntheticOrigin } from '#tests/support/synthetic-ll-hls.ts';
import { waitFor } from '#tests/support/wait-for.ts';

/** The requirement: from the first fault to the changed factor, at one probe a second. */
const DETECTION_MAX_MS = 5_000;

const SETTINGS = readSettings(HEALTH_SETTINGS, {
  STEERING_PROBE_ALLOWED_TARGETS: '127.0.0.1',
  STEERING_HEALTH_EJECTION_MS: '1000',
  STEERING_HEALTH_EJECTION_MAX_MS: '1000',
  STEERING_HEALTH_RAMP_PERCENT: '5,50',
  STEERING_HEALTH_RAMP_STEP_MS: '1000',
});

function directoryOf(urls: Readonly<Record<string, string>>): CdnDirectory {
  const cdns = Object.entries(urls).map(([name, baseUrl]) =>
    Cdn.parse({ name, baseUrl, generation: 1, addedGeneration: 1, createdAtMs: 0, updatedAtMs: 0 }),
  );
  return {
    list: () => cdns,
    get: (name) => cdns.find((cdn) => cdn.name === name),
    generation: 1,
    onChange: () => () => undefined,
  };
}

describe('a live stream on three CDNs', () => {
  let origin: SyntheticOrigin;
  let nginx: LocalCdn;
  let frozen: LocalCdn;
  let proxy: FaultProxy;
  let faulty: FaultyCdn;
  let health: Health;
  let metrics: ReturnType<typeof createMetrics>;
  const logger = createLogger('test', 'silent');

  const start = async (urls: Readonly<Record<string, string>>): Promise<void> => {
    metrics = createMetrics('steering');
    health = createHealth(
      SETTINGS,
      { originUrls: [origin.url] },
      {
        clock: systemClock,
        logger,
        metrics,
        directory: directoryOf(urls),
        liveStreams: () => ['demo'],
        experience: { factor: () => 1, onChange: () => () => undefined },
      },
    );
    await waitFor('all CDNs to be healthy', () =>
      Object.keys(urls).every((cdn) => health.get(cdn).state === 'healthy'),
    );
  };
  /** Milliseconds until the factor of a CDN is no longer 1. */
  const detection = async (cdn: string, until: (factor: number) => boolean): Promise<number> => {
    const startMs = performance.now();
    await waitFor(`${cdn} to be noticed`, () => until(health.get(cdn).factor), {
      deadlineMs: 15_000,
      intervalMs: 10,
    });
    return performance.now() - startMs;
  };
  const recovered = (cdn: string): Promise<number[]> => {
    const factors = new Set<number>();
    const end = health.onChange(() => factors.add(health.get(cdn).factor));
    return waitFor(
      `${cdn} to come back`,
      () => health.get(cdn).state === 'healthy' && health.get(cdn).factor === 1,
      {
        deadlineMs: 30_000,
      },
    ).then(() => {
      end();
      return [...factors];
    });
  };

  beforeAll(async () => {
    origin = await startSyntheticOrigin({ partMs: 333, partsPerSegment: 6 });
    nginx = await startLocalCdn('nginx', { originUrl: origin.url });
    proxy = await startFaultProxy(nginx.port);
    faulty = await startFaultyCdn(origin.url);
  });
  afterAll(async () => {
    await proxy.close();
    await faulty.close();
    await nginx.close();
    await origin.close();
  });
  beforeEach(async () => {
    await start({ nginx: proxy.url, faulty: faulty.url, good: nginx.url });
  });
  afterEach(async () => {
    await health.close();
    faulty.fault = { kind: 'none' };
    await proxy.heal();
  });

  it.each([
    ['killed', () => proxy.refuse(), 'connect_refused'],
    ['hanging', async () => proxy.set({ blackhole: true }), 'no_answer'],
    ['frozen in mid-answer', async () => proxy.set({ freeze: true }), 'no_answer'],
    ['resetting', async () => proxy.set({ reset: true }), 'reset'],
  ])('notices nginx %s, and lets it come back step by step', async (_, fault, reason) => {
    await fault();
    expect(await detection('nginx', (factor) => factor === 0)).toBeLessThanOrEqual(DETECTION_MAX_MS);
    expect(health.get('nginx').reasons).toContain(reason);
    expect([health.get('good').state, health.get('faulty').state]).toEqual(['healthy', 'healthy']);
    const back = recovered('nginx');
    await proxy.heal();
    expect(await back).toEqual(expect.arrayContaining([0.05, 0.5, 1]));
  });

  it.each<[string, HttpFault, string]>([
    ['answers 404', { kind: 'status', status: 404 }, 'status_4xx'],
    ['answers 503', { kind: 'status', status: 503 }, 'status_5xx'],
    ['is frozen but answers 200', { kind: 'frozen' }, 'reload_without_part'],
    ['hangs on reloads alone', { kind: 'hang_reload' }, 'hold_timeout'],
    ['cuts parts short', { kind: 'truncated' }, 'truncated'],
    ['has other bytes', { kind: 'wrong_bytes' }, 'bytes_differ'],
  ])('notices a CDN that %s', async (_, fault, reason) => {
    faulty.fault = fault;
    expect(await detection('faulty', (factor) => factor === 0)).toBeLessThanOrEqual(DETECTION_MAX_MS);
    expect(health.get('faulty').reasons).toContain(reason);
  });

  it('notices an Age that is not true', async () => {
    faulty.fault = { kind: 'age', age: '120' };
    expect(await detection('faulty', (factor) => factor < 1)).toBeLessThanOrEqual(DETECTION_MAX_MS);
    expect(health.get('faulty').reasons).toContain('age_wrong');
  });

  it('notices a CDN that became slow', async () => {
    proxy.set({ down: { bytesPerSecond: 40_000 } });
    expect(await detection('nginx', (factor) => factor < 1)).toBeLessThanOrEqual(DETECTION_MAX_MS);
    expect(health.get('nginx').reasons).toContain('slow_goodput');
  });

  it('notices nginx that is really killed, and really stopped', async () => {
    await health.close();
    const own = await startLocalCdn('nginx', { originUrl: origin.url });
    await start({ own: own.url, good: nginx.url });
    await own.kill();
    expect(await detection('own', (factor) => factor === 0)).toBeLessThanOrEqual(DETECTION_MAX_MS);
    await own.start();
    await recovered('own');
    await own.pause();
    expect(await detection('own', (factor) => factor === 0)).toBeLessThanOrEqual(DETECTION_MAX_MS);
    await own.resume();
    await own.close();
  });

  it('never trusts nginx that caches playlists as if they were files', async () => {
    await health.close();
    frozen = await startLocalCdn('nginx', { originUrl: origin.url, frozen: true });
    metrics = createMetrics('steering');
    health = createHealth(
      SETTINGS,
      { originUrls: [origin.url] },
      {
        clock: systemClock,
        logger,
        metrics,
        directory: directoryOf({ frozen: frozen.url, good: nginx.url }),
        liveStreams: () => ['demo'],
        experience: { factor: () => 1, onChange: () => () => undefined },
      },
    );
    expect(await detection('frozen', (factor) => factor === 0)).toBeLessThanOrEqual(DETECTION_MAX_MS);
    await frozen.close();
  });

  it('blames nobody while the origin stands still or is gone', async () => {
    origin.setLive(false);
    let blamed = 0;
    const end = health.onChange(() => {
      for (const cdn of ['nginx', 'faulty', 'good']) if (health.get(cdn).factor < 1) blamed++;
    });
    const unjudged = async (): Promise<number> => {
      const text = await metrics.getSingleMetricAsString('steering_probe_results_total');
      return [...text.matchAll(/reason="reference_\w+"[^}]*} (\d+)/g)].reduce(
        (sum, match) => sum + Number(match[1]),
        0,
      );
    };
    await waitFor('many probes without a judgement', async () => (await unjudged()) >= 15, {
      deadlineMs: 30_000,
    });
    expect(blamed).toBe(0);
    end();
    origin.setLive(true);
  });

  it('counts what it measured, with bounded labels', async () => {
    const text = await metrics.metrics();
    const durations = await metrics.getSingleMetricAsString('steering_probe_duration_seconds');
    const good = durations
      .split('\n')
      .filter((line) => line.includes('_count{') && line.includes('cdn="good"'));
    for (const stage of ['dns', 'tcp', 'multivariant', 'playlist', 'hold', 'part'])
      expect(good.some((line) => line.includes(`stage="${stage}"`))).toBe(true);
    expect(text).toMatch(/steering_probe_results_total\{cdn="good",reason="ok"[^}]*\} [1-9]/);
    expect(text).toMatch(/steering_cdn_health_factor\{cdn="good"[^}]*\} 1/);
    expect(text).not.toContain('127.0.0.1');
  });
});
