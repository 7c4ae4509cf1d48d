import type { Clock } from '#runtime/clock.ts';
import type { ProbeFailure } from '#steering/probe/probe-failure.ts';
import type {
  ProbeComponent,
  ProbeReason,
  ProbeSample,
  ProbeStage,
  UnjudgedReason,
} from '#steering/probe/probe-sample.ts';
import { SCALES, scoreOn } from '#steering/probe/probe-scores.ts';

/** Below this a component gets its reason into the sample. */
const REASON_BELOW = 0.7;

/** Collects what one probe finds. */
export class ProbeRecord {
  readonly #cdn: string;
  readonly #streamId: string;
  readonly #clock: Clock;
  readonly #stages: Partial<Record<ProbeStage, number>> = {};
  readonly #scores = new Map<ProbeComponent, { score: number; reason: ProbeReason }>();
  #goodputBps: number | undefined;

  constructor(cdn: string, streamId: string, clock: Clock) {
    this.#cdn = cdn;
    this.#streamId = streamId;
    this.#clock = clock;
  }

  /** Measures how long a step takes. */
  async time<Value>(stage: ProbeStage, step: Promise<Value>): Promise<Value> {
    const startMs = this.#clock.monotonicMs();
    const value = await step;
    this.#stages[stage] = this.#clock.monotonicMs() - startMs;
    return value;
  }

  stage(stage: ProbeStage, ms: number): void {
    this.#stages[stage] = ms;
  }

  connected(tcpMs: number, tlsMs: number | undefined): void {
    this.#stages.tcp = tcpMs;
    if (tlsMs !== undefined) this.#stages.tls = tlsMs;
    const wholeMs = (this.#stages.dns ?? 0) + tcpMs + (tlsMs ?? 0);
    this.score('connect', scoreOn(wholeMs, SCALES.connectMs), 'slow_connect');
  }

  goodput(bps: number): void {
    this.#goodputBps = bps;
  }

  /** Notes a score; of several for one component the worst counts. */
  score(component: ProbeComponent, score: number, reason: ProbeReason): void {
    const before = this.#scores.get(component);
    if (before === undefined || score < before.score) this.#scores.set(component, { score, reason });
  }

  measured(): ProbeSample {
    this.score('availability', 1, 'no_answer');
    return this.#sample('measured');
  }

  failed(failure: ProbeFailure): ProbeSample {
    const component = COMPONENT_OF_FAILURE[failure.code] ?? 'availability';
    this.#scores.set(component, { score: 0, reason: failure.code });
    const sample = this.#sample('failed');
    // The failure itself comes first, whatever else was at 0.
    return {
      ...sample,
      reasons: [failure.code, ...sample.reasons.filter((reason) => reason !== failure.code)],
    };
  }

  unjudged(because: UnjudgedReason): ProbeSample {
    // Of all reasons this one is for the operator: nothing will change until the settings do.
    const reasons: ProbeReason[] = because === 'target_refused' ? ['target_refused'] : [];
    return { ...this.#sample('unjudged'), components: {}, reasons, unjudgedBecause: because };
  }

  #sample(verdict: ProbeSample['verdict']): ProbeSample {
    const entries = [...this.#scores].sort((a, b) => a[1].score - b[1].score);
    return {
      cdn: this.#cdn,
      streamId: this.#streamId,
      verdict,
      components: Object.fromEntries(entries.map(([component, { score }]) => [component, score])),
      reasons: entries.filter(([, { score }]) => score < REASON_BELOW).map(([, { reason }]) => reason),
      atMs: this.#clock.monotonicMs(),
      stagesMs: this.#stages,
      ...(this.#goodputBps === undefined ? {} : { goodputBps: this.#goodputBps }),
    };
  }
}

const COMPONENT_OF_FAILURE: Readonly<Partial<Record<ProbeReason, ProbeComponent>>> = {
  dns_failed: 'connect',
  target_refused: 'connect',
  connect_refused: 'connect',
  connect_timeout: 'connect',
  connect_failed: 'connect',
  tls_failed: 'connect',
  playlist_frozen: 'freshness',
  hold_timeout: 'hold',
  reload_without_part: 'hold',
  truncated: 'content',
  bytes_differ: 'content',
};
