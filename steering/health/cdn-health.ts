/** Where a CDN stands. `unknown`: not probed yet, or nothing is live to probe with; it is trusted until proven bad. */
export type CdnState = 'healthy' | 'suspect' | 'ejected' | 'ramping' | 'unknown';

/** What is believed of one CDN at one moment. A snapshot: never changes after it was handed out. */
export type CdnHealth = {
  readonly cdn: string;
  /** 0 = dead … 1 = healthy; multiplies the weight that ops gave the CDN. Ramp and viewers' experience are in it. */
  readonly factor: number;
  readonly state: CdnState;
  /** Score 0…1 of each thing measured, by its name; the worst one makes the score. */
  readonly components: Readonly<Record<string, number>>;
  /** Stable words for what is wrong, worst first; empty while all is well. */
  readonly reasons: readonly string[];
  /** Wall clock, ms since the Unix epoch, since when `state` holds. */
  readonly sinceMs: number;
  /** Generation of the view in which this CDN changed last. */
  readonly generation: number;
};

/** The health of all CDNs, as the steering answers, the API and the edge snapshot read it. Reading is a map look-up. */
export type HealthView = {
  /**
   * Health of a CDN; of one stream on it when that stream was found to fare worse there than the CDN as a whole.
   * A CDN that was never probed is `unknown` with factor 1.
   */
  get(cdn: string, streamId?: string): CdnHealth;
  /** Grows by one whenever the factor or the state of anything changes. */
  readonly generation: number;
  /** Calls `listener` after every change; returns the function that ends it. */
  onChange(listener: () => void): () => void;
};

/** One point of a CDN's chart. */
export type HealthSample = {
  /** Wall clock, ms since the Unix epoch. */
  readonly atMs: number;
  readonly factor: number;
  readonly state: CdnState;
  readonly components: Readonly<Record<string, number>>;
};

/** What was, for charts. */
export type HealthHistory = {
  /** At most the last 15 minutes, oldest first, bounded in number. */
  history(cdn: string): readonly HealthSample[];
};
