import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Hono } from 'hono';
import { FakeClock } from '#runtime/clock.ts';
import { onError, ProblemError } from '#runtime/http/problem.ts';
import { createMetrics } from '#runtime/metrics.ts';
import {
  COALESCE_MS,
  createEventRoutes,
  EVENT_STREAM_LIFETIME_MS,
  EVENT_STREAMS_MAX,
  type EventRoutes,
} from '#steering/console/event-routes.ts';

describe('GET /api/v1/events', () => {
  let clock: FakeClock;
  let events: EventRoutes;
  let app: Hono;
  let listeners: Set<() => void>;
  let viewers: Map<string, number>;
  let metrics: ReturnType<typeof createMetrics>;
  let generation: number;

  beforeEach(() => {
    clock = new FakeClock();
    metrics = createMetrics('steering');
    listeners = new Set();
    viewers = new Map([['a', 3.4]]);
    generation = 1;
    events = createEventRoutes({
      clock,
      metrics,
      actor: (context) => {
        if (context.req.header('authorization') !== 'Bearer t')
          throw new ProblemError(401, 'unauthorized', 'no');
        return { name: 'me', role: 'operator', requestId: 'r' };
      },
      sources: [
        {
          onChange: (listener) => {
            listeners.add(listener);
            return () => listeners.delete(listener);
          },
        },
      ],
      generations: () => ({ registry: generation, health: 7 }),
      viewersByCdn: () => viewers,
    });
    app = new Hono();
    app.onError(onError(() => undefined));
    app.route('/', events.routes);
  });
  afterEach(() => events.close());

  const get = async (path: string, token = 't'): Promise<Response> =>
    app.request(path, { headers: { authorization: `Bearer ${token}` } });
  /** Everything sent so far. */
  const reader = (response: Response): (() => Promise<string>) => {
    const read = response.body?.getReader();
    return async () => {
      const { value } = (await read?.read()) ?? {};
      return new TextDecoder().decode(value);
    };
  };
  const change = (): void => {
    for (const listener of listeners) listener();
  };
  const streams = async (): Promise<number> =>
    (await metrics.getSingleMetric('steering_event_streams')?.get())?.values[0]?.value ?? -1;

  it('says who one is', async () => {
    expect(await (await get('/api/v1/me')).json()).toEqual({ name: 'me', role: 'operator' });
    expect((await get('/api/v1/me', 'x')).status).toBe(401);
    expect((await get('/api/v1/events', 'x')).status).toBe(401);
  });

  it('greets, tells changes together, and viewers when they change', async () => {
    const response = await get('/api/v1/events');
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    const next = reader(response);
    expect(await next()).toBe(
      'event: hello\ndata: {"name":"me","role":"operator","registry":1,"health":7}\n\n',
    );
    expect(await next()).toBe('event: viewers\ndata: {"a":3}\n\n');
    generation = 2;
    change();
    change();
    clock.advance(COALESCE_MS);
    expect(await next()).toBe('event: changed\ndata: {"registry":2,"health":7}\n\n');
    clock.advance(2_000);
    expect(await next()).toBe('event: viewers\ndata: {"a":3}\n\n');
    clock.advance(4_000);
    viewers.set('a', 99);
    clock.advance(2_000);
    expect(await next()).toBe('event: viewers\ndata: {"a":99}\n\n');
    clock.advance(10_000);
    expect(await next()).toBe(': still here\n\n');
  });

  it('has a limit, and gives room again when somebody leaves', async () => {
    const open = await Promise.all(Array.from({ length: EVENT_STREAMS_MAX }, () => get('/api/v1/events')));
    const refused = await get('/api/v1/events');
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ code: 'event_streams_exhausted' });
    await open[0]?.body?.cancel();
    expect(await streams()).toBe(EVENT_STREAMS_MAX - 1);
    expect((await get('/api/v1/events')).status).toBe(200);
  });

  it('ends after its lifetime, and when the service ends', async () => {
    const first = (await get('/api/v1/events')).text();
    clock.advance(EVENT_STREAM_LIFETIME_MS);
    expect(await first).toContain('event: hello');
    const second = (await get('/api/v1/events')).text();
    await events.close();
    expect(await second).toContain('event: hello');
    expect(await streams()).toBe(0);
    expect(clock.pendingCount).toBe(0);
    expect(listeners.size).toBe(0);
  });

  it('does not keep events for a reader that does not read', async () => {
    await get('/api/v1/events');
    for (let round = 0; round < 5_000; round++) {
      change();
      clock.advance(COALESCE_MS);
    }
    const { values } = (await metrics.getSingleMetric('steering_event_streams_skipped_total')?.get()) ?? {
      values: [],
    };
    expect(values[0]?.value).toBeGreaterThan(1_000);
  });
});
