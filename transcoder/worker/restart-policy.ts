import type { TranscodeErrorCode } from '#transcoder/transcode-error.ts';

/** What to do after a timeline has failed. */
export type RestartDecision = 'end' | { readonly pauseMs: number };

const MINUTE_MS = 60_000;
const PAUSE_MS = { first: 100, most: 5_000 } as const;
const ECONOMY_MAX = 8;

/** Failures that no new timeline can mend. */
const FINAL: ReadonlySet<TranscodeErrorCode> = new Set([
  'session_over',
  'origin_refused',
  'source_unsupported',
  'grid_impossible',
  'encoder_unusable',
  'sessions_exhausted',
]);
/** The next timeline will be different, so it may begin at once. */
const MENDED: ReadonlySet<TranscodeErrorCode> = new Set([
  'copy_off_grid',
  'track_joined',
  'track_vanished',
  'timeline_too_long',
]);
const TOO_MUCH: ReadonlySet<TranscodeErrorCode> = new Set(['encoder_slow', 'encoder_backlog']);

/**
 * Decides after each failure whether, when and how the next timeline begins. Remembers for the session what the machine
 * could not do.
 */
export class RestartPolicy {
  readonly #failuresPerMinuteMax: number;
  #failuresMs: number[] = [];
  #economy = 0;
  #copyAllowed = true;

  constructor(failuresPerMinuteMax: number) {
    this.#failuresPerMinuteMax = failuresPerMinuteMax;
  }

  /** Steps of effort to be saved, see `LadderRequest.economy`. */
  get economy(): number {
    return this.#economy;
  }

  /** Whether the broadcaster's own frames may still be tried as a rendition. */
  get copyAllowed(): boolean {
    return this.#copyAllowed;
  }

  /** @param nowMs monotonic */
  decide(code: TranscodeErrorCode, nowMs: number): RestartDecision {
    if (FINAL.has(code)) return 'end';
    if (code === 'copy_off_grid') this.#copyAllowed = false;
    if (TOO_MUCH.has(code)) this.#economy = Math.min(ECONOMY_MAX, this.#economy + 1);
    this.#failuresMs = [...this.#failuresMs.filter((at) => nowMs - at < MINUTE_MS), nowMs];
    const recent = this.#failuresMs.length;
    // An origin that is away is waited for as long as the broadcaster stays.
    if (recent > this.#failuresPerMinuteMax && code !== 'origin_unreachable') return 'end';
    if (MENDED.has(code) && recent <= 3) return { pauseMs: 0 };
    return { pauseMs: Math.min(PAUSE_MS.most, PAUSE_MS.first * 2 ** (recent - 1)) };
  }
}
