import { Counter, Gauge } from 'prom-client';
import type { MiddlewareHandler } from 'hono';
import type { Clock, Timer } from '#runtime/clock.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { StreamRecorder } from '#origin/live/stream-recorder.ts';

/** What goes first when there is too much of everything: publishing, then the live edge, then rewinding, then the API. */
export type Priority = 'publish' | 'live' | 'dvr' | 'api';

export type OverloadLimits = {
  /** Mean delay of the event loop from which requests of a priority are refused, ms. Publishing never is. */
  readonly delayMsMax: Readonly<Record<Exclude<Priority, 'publish'>, number>>;
  /** Requests of a priority that may be under way at once, as far as they are counted. */
  readonly underWayMax: Readonly<Record<'dvr' | 'api', number>>;
};

/** @param delayMs from which the API is refused; rewinding at twice, the live edge at six times as much */
export function overloadLimits(delayMs: number): OverloadLimits {
  return {
    delayMsMax: { api: delayMs, dvr: 2 * delayMs, live: 6 * delayMs },
    underWayMax: { api: 256, dvr: 512 },
  };
}

const SAMPLE_MS = 250;
/** Weight of the newest sample: one long pause is no overload, a second of them is. */
const SAMPLE_WEIGHT = 0.25;
const RETRY_AFTER_S = 2;

/**
 * Refuses what matters least first, so that publishing and the live edge go on. 503 with Retry-After, and Cache-Control so
 * that caches and the players behind them wait, too.
 */
export class OverloadGate {
  readonly #limits: OverloadLimits;
  readonly #clock: Clock;
  readonly #shed: Counter<'priority' | 'reason'>;
  readonly #delayGauge: Gauge;
  readonly #underWay = { dvr: 0, api: 0 };
  #timer: Timer | undefined;
  #delayMs = 0;

  constructor(limits: OverloadLimits, deps: { readonly clock: Clock; readonly metrics: Metrics }) {
    this.#limits = limits;
    this.#clock = deps.clock;
    const registers = [deps.metrics];
    this.#shed = new Counter({
      name: 'origin_shed_requests_total',
      help: 'Requests refused under overload, by priority and reason: delay (of the event loop), under_way (too many).',
      labelNames: ['priority', 'reason'],
      registers,
    });
    this.#delayGauge = new Gauge({
      name: 'origin_event_loop_delay_seconds',
      help: 'Smoothed delay of the event loop, by which requests are refused.',
      registers,
    });
    this.#sample();
  }

  /** Smoothed delay of the event loop, ms. */
  get delayMs(): number {
    return this.#delayMs;
  }

  /** @throws {ProblemError} 503 `overloaded` when requests of this priority are refused now */
  assertRoom(priority: Priority): void {
    if (priority === 'publish') return;
    if (this.#delayMs > this.#limits.delayMsMax[priority]) throw this.#refusal(priority, 'delay');
    if (priority === 'live') return;
    if (this.#underWay[priority] >= this.#limits.underWayMax[priority])
      throw this.#refusal(priority, 'under_way');
  }

  /**
   * Does the work of a request that is counted while it is under way.
   *
   * @throws {ProblemError} 503 `overloaded`; what the work throws
   */
  async run<Result>(priority: 'dvr' | 'api', work: () => Promise<Result>): Promise<Result> {
    this.assertRoom(priority);
    this.#underWay[priority] += 1;
    try {
      return await work();
    } finally {
      this.#underWay[priority] -= 1;
    }
  }

  close(): void {
    this.#timer?.cancel();
  }

  #refusal(priority: Priority, reason: 'delay' | 'under_way'): ProblemError {
    this.#shed.inc({ priority, reason });
    return new ProblemError(503, 'overloaded', 'This origin has too much to do; try again later.', {
      headers: { 'retry-after': String(RETRY_AFTER_S), 'cache-control': 'public, max-age=5' },
    });
  }

  /** How much later than it should does a timer fire: that is what every request waits for, too. */
  #sample(): void {
    const dueMs = this.#clock.monotonicMs() + SAMPLE_MS;
    this.#timer = this.#clock.after(SAMPLE_MS, () => {
      const lateMs = Math.max(0, this.#clock.monotonicMs() - dueMs);
      this.#delayMs += (lateMs - this.#delayMs) * SAMPLE_WEIGHT;
      this.#delayGauge.set(this.#delayMs / 1_000);
      this.#sample();
    });
  }
}

/**
 * What a request is to the origin, by its path alone. Which of the media are of the live edge and which are read from a
 * recording, only playback knows: it asks for itself as `dvr`.
 */
export function priorityOf(path: string): Priority | 'health' {
  if (path.startsWith('/ingest/') || path.startsWith('/internal/')) return 'publish';
  if (path === '/healthz' || path === '/readyz' || path === '/metrics') return 'health';
  if (path.startsWith('/live/') || path.startsWith('/t/')) return 'live';
  return 'api';
}

/** A recorder whose media are read as what they are for: rewinding, which gives way to the live edge. */
export function behindGate(recorder: StreamRecorder, gate: Pick<OverloadGate, 'run'>): StreamRecorder {
  return {
    begin: (...request) => recorder.begin(...request),
    removed: (streamId) => recorder.removed(streamId),
    isKept: (...request) => recorder.isKept(...request),
    segment: (...request) => gate.run('dvr', () => recorder.segment(...request)),
    init: (...request) => gate.run('dvr', () => recorder.init(...request)),
  };
}

/** Asks the gate for everything that Hono's routes answer. */
export function shedOverload(gate: OverloadGate): MiddlewareHandler {
  return async (context, next) => {
    if (priorityOf(context.req.path) === 'api') await gate.run('api', next);
    else await next();
  };
}
