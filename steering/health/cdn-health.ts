/**
 * What the health side of steering tells the answering side about a CDN. One value per CDN, refined per stream where a
 * stream fares differently (its playlist is frozen on this CDN, say, while the others move on).
 */
export type CdnHealth = {
  /** The pathway id of the CDN. */
  readonly cdn: string;
  /** 0 = dead … 1 = healthy. Everything is in it: probes, ramp after recovery, quality of experience. */
  readonly factor: number;
  /**
   * `unknown`: not measured yet, or the node that asks has no probes; the factor is then 1. `ejected`: left out of the
   * answers. `suspect` and `ramping` keep the event open, so that players ask again soon.
   */
  readonly state: 'healthy' | 'suspect' | 'ejected' | 'ramping' | 'unknown';
  /** The parts the factor is made of, each 0…1, by name, for the console and the log. */
  readonly components: Readonly<Record<string, number>>;
  /** In words for a person, worst first. */
  readonly reasons: readonly string[];
  /** Wall clock of the last change of `state`, ms since the Unix epoch. */
  readonly sinceMs: number;
  /** Grows with every change of this value. */
  readonly generation: number;
};

/** A node's own picture of the health of all CDNs. Reading never waits. */
export type HealthView = {
  /** The health of a CDN, or of one stream on it; a CDN never heard of is `unknown` with factor 1. */
  get(cdn: string, streamId?: string): CdnHealth;
  /** Grows whenever any answer of {@link HealthView.get} may have changed. */
  readonly generation: number;
  /** Calls `listener` after each change; the returned function ends that. */
  onChange(listener: () => void): () => void;
};
