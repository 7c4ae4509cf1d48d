/** Scores remembered of a CDN. */
export const RECENT_MAX = 12;

/** When a CDN falls, when it rises, and how it comes back. Times are ms of the monotonic clock. */
export type HealthRules = {
  /** Bad samples in a row after which a CDN falls. */
  readonly fall: number;
  /**
   * Failed samples in a row after which it falls. One more than `fall`, because a probe that was lost on the way looks
   * like a dead CDN; they come faster, because each failure is asked again at once.
   */
  readonly hardFall: number;
  /** Good samples in a row after which it may rise. */
  readonly rise: number;
  /** A sample scoring below is bad, one scoring from `goodFrom` on is good; between the two it is neither. */
  readonly badBelow: number;
  readonly goodFrom: number;
  /** So many bad ones of the last {@link RECENT_MAX} let a CDN fall too, though never enough of them come in a row. */
  readonly fallOfRecent: number;
  /** First ejection lasts this long, each further one twice as long as the one before, up to the cap. */
  readonly ejectionBaseMs: number;
  readonly ejectionMaxMs: number;
  /** Healthy for this long, a CDN is forgiven one ejection. */
  readonly ejectionForgetMs: number;
  /** Shares of its weight that a CDN gets one after the other when it comes back, the canary's first. */
  readonly rampSteps: readonly number[];
  readonly rampStepMs: number;
  /** Streaks do not outlive a pause of this length. */
  readonly streakMaxAgeMs: number;
  /** Without a judged sample for this long nothing is known any more; an ejected CDN waits for the second. */
  readonly unknownAfterMs: number;
  readonly ejectedUnknownAfterMs: number;
};

/** Rules for probes once a second. */
export const DEFAULT_HEALTH_RULES: HealthRules = {
  fall: 3,
  hardFall: 4,
  rise: 2,
  badBelow: 0.5,
  goodFrom: 0.7,
  fallOfRecent: 8,
  ejectionBaseMs: 10_000,
  ejectionMaxMs: 300_000,
  ejectionForgetMs: 600_000,
  rampSteps: [0.05, 0.25, 0.5],
  rampStepMs: 10_000,
  streakMaxAgeMs: 15_000,
  unknownAfterMs: 60_000,
  ejectedUnknownAfterMs: 300_000,
};
