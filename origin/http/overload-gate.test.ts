import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { onError } from '#runtime/http/problem.ts';
import type { StreamRecorder } from '#origin/live/stream-recorder.ts';
import {
  behindGate,
  OverloadGate,
  overloadLimits,
  priorityOf,
  shedOverload,
} from '#origin/http/overload-gate.ts';

/** A clock whose timers are late, as they are when the event loop is busy. */
class LateClock extends FakeClock {
  lateMs = 0;

  override after(delayMs: number, callback: () => void): { cancel: () => void } {
    return super.after(delayMs + this.lateMs, callback);
  }
}

function setUp(delayMs = 100) {
  const clock = new LateClock();
  const metrics = createMetrics('test');
  const gate = new OverloadGate(overloadLimits(delayMs), { clock, metrics });
  const delay = (lateMs: number): void => {
    clock.lateMs = lateMs;
    for (let samples = 0; samples < 40; samples++) clock.advance(250 + lateMs);
  };
  const refused = (): string[] =>
    (['publish', 'live', 'dvr', 'api'] as const).filter((priority) => {
      try {
        gate.assertRoom(priority);
        return false;
      } catch {
        return true;
      }
    });
  return { clock, metrics, gate, delay, refused };
}

describe('an overloaded origin', () => {
  it.each([
    [0, []],
    [90, []],
    [110, ['api']],
    [210, ['dvr', 'api']],
    [700, ['live', 'dvr', 'api']],
    [10_000, ['live', 'dvr', 'api']],
  ])('with an event loop that is %i ms late refuses %j', (lateMs, expected) => {
    const { delay, refused, gate } = setUp();
    delay(lateMs);
    expect(refused()).toEqual(expected);
    gate.close();
  });

  it('is not what one pause makes of it', () => {
    const { clock, refused } = setUp();
    clock.lateMs = 390;
    clock.advance(250);
    clock.lateMs = 0;
    clock.advance(400);
    expect(refused()).toEqual([]);
  });

  it('takes everything again when the pauses are over', () => {
    const { delay, refused } = setUp();
    delay(1_000);
    expect(refused()).toEqual(['live', 'dvr', 'api']);
    delay(0);
    expect(refused()).toEqual([]);
  });

  it('answers 503, says when to come again, and counts it', async () => {
    const { delay, gate, metrics } = setUp();
    const app = new Hono();
    app.onError(onError(() => expect.unreachable()));
    app.use(shedOverload(gate));
    app.get('/api/v1/streams', (context) => context.text('all of them'));
    app.get('/healthz', (context) => context.text('well'));
    app.put('/ingest/v1/a/b/c', (context) => context.text('taken'));
    expect((await app.request('/api/v1/streams')).status).toBe(200);
    delay(10_000);
    const response = await app.request('/api/v1/streams');
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ code: 'overloaded' });
    expect(response.headers.get('retry-after')).toBe('2');
    expect(response.headers.get('cache-control')).toBe('public, max-age=5');
    expect((await app.request('/healthz')).status).toBe(200);
    expect((await app.request('/ingest/v1/a/b/c', { method: 'PUT' })).status).toBe(200);
    expect(await metrics.metrics()).toMatch(
      /origin_shed_requests_total\{priority="api",reason="delay",[^}]*\} 1/,
    );
  });

  it('has so many requests of the API under way and no more', async () => {
    const { gate } = setUp();
    const { promise, resolve } = Promise.withResolvers<void>();
    const all = Array.from({ length: 256 }, () => gate.run('api', () => promise));
    await expect(gate.run('api', () => promise)).rejects.toMatchObject({ code: 'overloaded' });
    expect(() => gate.assertRoom('dvr')).not.toThrow();
    resolve();
    await Promise.all(all);
    await expect(gate.run('api', () => Promise.resolve('in'))).resolves.toBe('in');
  });

  it('reads from recordings only while the live edge leaves room', async () => {
    const { delay, gate } = setUp();
    const kept: StreamRecorder = {
      begin: () => undefined,
      removed: () => undefined,
      isKept: () => true,
      segment: () => Promise.resolve(undefined),
      init: () => Promise.resolve(undefined),
    };
    const recorder = behindGate(kept, gate);
    const viewer = { signal: new AbortController().signal };
    expect(await recorder.segment('demo', 'v', 1, viewer)).toBeUndefined();
    delay(210);
    await expect(recorder.segment('demo', 'v', 1, viewer)).rejects.toMatchObject({ code: 'overloaded' });
    await expect(recorder.init('demo', 'v', 1, viewer)).rejects.toMatchObject({ code: 'overloaded' });
    expect(recorder.isKept('demo', 1)).toBe(true);
    gate.close();
  });

  it('knows what is worth what by its path', () => {
    expect(
      [
        '/ingest/v1/a/b/1.0.m4s',
        '/live/a/master.m3u8',
        '/t/x/live/a/master.m3u8',
        '/api/v1/streams',
        '/',
      ].map(priorityOf),
    ).toEqual(['publish', 'live', 'live', 'api', 'api']);
    expect(['/healthz', '/readyz', '/metrics'].map(priorityOf)).toEqual(['health', 'health', 'health']);
  });
});
