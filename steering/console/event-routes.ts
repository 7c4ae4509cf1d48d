import { Hono } from 'hono';
import { Counter, Gauge } from 'prom-client';
import type { Clock, Timer } from '#runtime/clock.ts';
import { ProblemError, problemResponse } from '#runtime/http/problem.ts';
import type { Disposable } from '#runtime/lifecycle.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { Actor, Role } from '#steering/registry/actor.ts';
import type { Context } from 'hono';

/** Streams of events open at once. */
export const EVENT_STREAMS_MAX = 100;
/** A stream ends after this time; whoever wants more comes back and shows its token again. */
export const EVENT_STREAM_LIFETIME_MS = 10 * 60_000;
/** Changes within this time are told together. */
export const COALESCE_MS = 250;
/** How often viewers are counted for those who watch. */
const VIEWERS_MS = 2_000;
/** How often a silent stream shows that it lives. */
const PING_MS = 10_000;
/** Bytes that may wait for a slow reader before it misses events. */
const BACKLOG_BYTES_MAX = 64 * 1024;

export type EventRoutesDeps = {
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** Who asks. @throws {ProblemError} 401, 403 */
  readonly actor: (context: Context, role: Role) => Actor;
  /** What tells of changes of the registry, of health and of the picture. */
  readonly sources: readonly { onChange(listener: () => void): () => void }[];
  /** Generations to tell with a change. */
  readonly generations: () => Readonly<Record<string, number>>;
  readonly viewersByCdn: () => ReadonlyMap<string, number>;
};

/** The routes, and the means to end all streams. */
export type EventRoutes = Disposable & { readonly routes: Hono };

/**
 * `GET /api/v1/me`: name and role of the token. `GET /api/v1/events`: server-sent events for those who may look, so that
 * nobody has to poll: `hello` at first, `changed` with the generations when anything of the CDNs has changed, `viewers`
 * with the estimated viewers per CDN when these have. Events say what to read anew; none of them has to arrive.
 *
 * 503 `event_streams_exhausted` beyond {@link EVENT_STREAMS_MAX}.
 */
export function createEventRoutes(deps: EventRoutesDeps): EventRoutes {
  const hub = new EventHub(deps);
  const routes = new Hono();
  routes.get('/api/v1/me', (context) => {
    const { name, role } = deps.actor(context, 'viewer');
    return context.json({ name, role });
  });
  routes.get('/api/v1/events', (context) => {
    const { name, role } = deps.actor(context, 'viewer');
    const body = hub.open({ name, role });
    if (body === undefined)
      return problemResponse(
        new ProblemError(503, 'event_streams_exhausted', `${EVENT_STREAMS_MAX} streams are open already.`, {
          headers: { 'retry-after': '10' },
        }),
      );
    return new Response(body, {
      headers: {
        'content-type': 'text/event-stream',
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        // Proxies of the nginx kind hold answers back otherwise.
        'x-accel-buffering': 'no',
      },
    });
  });
  return { routes, close: () => hub.close() };
}

type Subscriber = { readonly send: (text: string) => void; readonly end: () => void };

class EventHub {
  readonly #deps: EventRoutesDeps;
  readonly #subscribers = new Set<Subscriber>();
  readonly #forget: (() => void)[];
  readonly #open: Gauge;
  readonly #skipped: Counter;
  #changed: Timer | undefined;
  #viewersTimer: Timer | undefined;
  #viewers = '';
  #closed = false;

  constructor(deps: EventRoutesDeps) {
    this.#deps = deps;
    this.#open = new Gauge({
      name: 'steering_event_streams',
      help: 'Streams of events that are open',
      registers: [deps.metrics],
    });
    this.#skipped = new Counter({
      name: 'steering_event_streams_skipped_total',
      help: 'Events that a slow reader was not sent',
      registers: [deps.metrics],
    });
    this.#forget = deps.sources.map((source) => source.onChange(() => this.#changedSoon()));
  }

  open(hello: object): ReadableStream<Uint8Array> | undefined {
    if (this.#closed || this.#subscribers.size >= EVENT_STREAMS_MAX) return undefined;
    const { clock } = this.#deps;
    const encoder = new TextEncoder();
    let subscriber: Subscriber | undefined;
    let ping: Timer | undefined;
    let lifetime: Timer | undefined;
    const leave = (): void => {
      ping?.cancel();
      lifetime?.cancel();
      if (subscriber !== undefined) this.#leave(subscriber);
    };
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          const send = (text: string): void => {
            if ((controller.desiredSize ?? 0) <= 0) this.#skipped.inc();
            else controller.enqueue(encoder.encode(text));
          };
          const end = (): void => {
            leave();
            controller.close();
          };
          subscriber = { send, end };
          this.#join(subscriber);
          lifetime = clock.after(EVENT_STREAM_LIFETIME_MS, end);
          const beat = (): void => {
            send(': still here\n\n');
            ping = clock.after(PING_MS, beat);
          };
          ping = clock.after(PING_MS, beat);
          send(eventText('hello', { ...hello, ...this.#deps.generations() }));
          send(eventText('viewers', this.#readViewers()));
        },
        cancel: leave,
      },
      { highWaterMark: BACKLOG_BYTES_MAX, size: (chunk) => chunk?.byteLength ?? 0 },
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#changed?.cancel();
    for (const forget of this.#forget) forget();
    for (const subscriber of this.#subscribers) subscriber.end();
  }

  #join(subscriber: Subscriber): void {
    this.#subscribers.add(subscriber);
    this.#open.set(this.#subscribers.size);
    if (this.#subscribers.size === 1) this.#watchViewers();
  }

  #leave(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber);
    this.#open.set(this.#subscribers.size);
    if (this.#subscribers.size === 0) this.#viewersTimer?.cancel();
  }

  #broadcast(text: string): void {
    for (const subscriber of this.#subscribers) subscriber.send(text);
  }

  #changedSoon(): void {
    if (this.#changed !== undefined || this.#subscribers.size === 0) return;
    this.#changed = this.#deps.clock.after(COALESCE_MS, () => {
      this.#changed = undefined;
      this.#broadcast(eventText('changed', this.#deps.generations()));
    });
  }

  #watchViewers(): void {
    this.#viewersTimer = this.#deps.clock.after(VIEWERS_MS, () => {
      const text = eventText('viewers', this.#readViewers());
      if (text !== this.#viewers) this.#broadcast(text);
      this.#viewers = text;
      this.#watchViewers();
    });
  }

  #readViewers(): Record<string, number> {
    return Object.fromEntries(
      [...this.#deps.viewersByCdn()].map(([cdn, viewers]) => [cdn, Math.round(viewers)]),
    );
  }
}

/** JSON has no line breaks in it, so one line of data is enough. */
function eventText(event: string, data: object): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
