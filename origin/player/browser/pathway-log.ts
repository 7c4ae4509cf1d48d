/** How far back the timeline of the page goes. */
export const PATHWAY_LOG_WINDOW_MS = 600_000;
/** Entries kept of each kind; what flaps for ten minutes would be more than anybody reads. */
export const PATHWAY_LOG_ENTRIES_MAX = 60;

/** What the error was that a pathway was left for. */
export type PathwayError = {
  /** `details` of the error of hls.js. */
  readonly details: string;
  /** HTTP status of the answer; 0 where there was none. */
  readonly status: number;
};

/**
 * Why media comes from a pathway: playback began there, the steering server said so, the pathway before it failed, or hls.js
 * did not say.
 */
export type PathwayReason =
  | { readonly kind: 'start' }
  | { readonly kind: 'steering' }
  | { readonly kind: 'error'; readonly error: PathwayError }
  | { readonly kind: 'unknown' };

/** A time during which media was loaded from one pathway. Times are `performance.now()`, in ms. */
export type PathwaySpan = {
  readonly pathway: string;
  readonly sinceMs: number;
  /** Undefined while it goes on. */
  readonly untilMs: number | undefined;
  readonly reason: PathwayReason;
};

/** A time during which the picture stood still. */
export type StallSpan = { readonly sinceMs: number; readonly untilMs: number | undefined };

/** Which pathway played when and why, and when the picture stood still: the last ten minutes, bounded. */
export class PathwayLog {
  #spans: PathwaySpan[] = [];
  #stalls: StallSpan[] = [];
  #dropped = 0;

  /** Oldest first. */
  get spans(): readonly PathwaySpan[] {
    return this.#spans;
  }

  /** Oldest first. */
  get stalls(): readonly StallSpan[] {
    return this.#stalls;
  }

  /** Entries that had to make room for newer ones though they were not old. */
  get dropped(): number {
    return this.#dropped;
  }

  /** The pathway that media comes from now. */
  get current(): string | undefined {
    const last = this.#spans.at(-1);
    return last?.untilMs === undefined ? last?.pathway : undefined;
  }

  /** Media comes from `pathway` from now on. Says nothing new when it did already. */
  use(pathway: string, reason: PathwayReason, nowMs: number): void {
    if (this.current === pathway) return;
    this.end(nowMs);
    this.#spans.push({ pathway, sinceMs: nowMs, untilMs: undefined, reason });
    this.#forget(nowMs);
  }

  /** Gives the newest span the reason that became known only after the switch. */
  explain(error: PathwayError): void {
    const last = this.#spans.at(-1);
    if (last?.reason.kind === 'unknown')
      this.#spans[this.#spans.length - 1] = { ...last, reason: { kind: 'error', error } };
  }

  /** Whether the picture stands still now. Call it as often as you like. */
  stalled(isStalled: boolean, nowMs: number): void {
    const last = this.#stalls.at(-1);
    const open = last !== undefined && last.untilMs === undefined;
    if (open === isStalled) return;
    if (isStalled) this.#stalls.push({ sinceMs: nowMs, untilMs: undefined });
    else if (open) this.#stalls[this.#stalls.length - 1] = { ...last, untilMs: nowMs };
    this.#forget(nowMs);
  }

  /** Nothing plays any more. */
  end(nowMs: number): void {
    const last = this.#spans.at(-1);
    if (last !== undefined && last.untilMs === undefined)
      this.#spans[this.#spans.length - 1] = { ...last, untilMs: nowMs };
    this.stalled(false, nowMs);
  }

  /** Another stream: nothing has been yet. */
  clear(): void {
    this.#spans = [];
    this.#stalls = [];
    this.#dropped = 0;
  }

  #forget(nowMs: number): void {
    this.#spans = this.#bounded(this.#spans, nowMs);
    this.#stalls = this.#bounded(this.#stalls, nowMs);
  }

  #bounded<Span extends StallSpan>(spans: readonly Span[], nowMs: number): Span[] {
    const young = spans.filter(
      ({ untilMs }) => untilMs === undefined || untilMs > nowMs - PATHWAY_LOG_WINDOW_MS,
    );
    this.#dropped += Math.max(0, young.length - PATHWAY_LOG_ENTRIES_MAX);
    return young.slice(-PATHWAY_LOG_ENTRIES_MAX);
  }
}

/** A reason in words; `left` is the pathway that was played before. */
export function reasonText(reason: PathwayReason, left: string | undefined): string {
  const from = left ?? 'the CDN before';
  switch (reason.kind) {
    case 'start':
      return 'playback began';
    case 'steering':
      return 'the steering server said so';
    case 'unknown':
      return 'the player chose it';
    case 'error': {
      const { details, status } = reason.error;
      if (status >= 400) return `${from} answered ${status}`;
      if (details === 'playlistUnchangedError') return `${from} stood still`;
      if (details.endsWith('TimeOut')) return `${from} was too slow or did not answer`;
      if (details.endsWith('LoadError')) return `no connection to ${from}`;
      return `${from} failed (${details})`;
    }
  }
}
