/** What a probe scores, each 0 (unusable) … 1 (as good as it gets). Bounded: these are also label values. */
export const PROBE_COMPONENTS = [
  /** Name resolution, TCP and TLS. */
  'connect',
  /** Time to the first byte of what a cache can answer at once. */
  'ttfb',
  /** Every request was answered with the right status and a body that can be read. */
  'availability',
  /** Age of the newest part in the plain playlist, against the origin. */
  'freshness',
  /** How much later than the origin the answer to a blocking reload came. */
  'hold',
  /** Pace of the part's bytes against the bandwidth of the top rung. */
  'goodput',
  /** The part has the bytes that the origin has. */
  'content',
  /** The Age header tells the truth; players tune in by it. */
  'age',
] as const;
export type ProbeComponent = (typeof PROBE_COMPONENTS)[number];

/** Why a probe failed or scored low. Bounded: these are also label values. */
export const PROBE_REASONS = [
  'dns_failed',
  'target_refused',
  'connect_refused',
  'connect_timeout',
  'connect_failed',
  'tls_failed',
  'reset',
  'no_answer',
  'redirect',
  'status_4xx',
  'status_5xx',
  'status_other',
  'headers_too_large',
  'body_too_large',
  'body_stalled',
  'truncated',
  'encoding_invalid',
  'playlist_invalid',
  'rendition_missing',
  'part_missing',
  'playlist_frozen',
  'reload_without_part',
  'hold_timeout',
  'bytes_differ',
  'slow_connect',
  'slow_ttfb',
  'late_part',
  'late_playlist',
  'slow_goodput',
  'age_wrong',
] as const;
export type ProbeReason = (typeof PROBE_REASONS)[number];

/** Stages of a probe whose time is measured, in their order. */
export const PROBE_STAGES = ['dns', 'tcp', 'tls', 'multivariant', 'playlist', 'hold', 'part'] as const;
export type ProbeStage = (typeof PROBE_STAGES)[number];

/**
 * The result of one probe.
 *
 * - `measured`: a player could have played; the components say how well.
 * - `failed`: a player could not have played.
 * - `unjudged`: nothing can be said of the CDN: the origin was stale or gone, the stream ended, we ourselves stalled, or its
 *   URL is one that we must not ask.
 */
export type ProbeSample = {
  readonly cdn: string;
  readonly streamId: string;
  readonly verdict: 'measured' | 'failed' | 'unjudged';
  readonly components: Readonly<Partial<Record<ProbeComponent, number>>>;
  /** Worst first. */
  readonly reasons: readonly ProbeReason[];
  /** Monotonic ms at the end of the probe. */
  readonly atMs: number;
  readonly stagesMs: Readonly<Partial<Record<ProbeStage, number>>>;
  /** Pace of the part's body, bits per second. */
  readonly goodputBps?: number;
  /** Why it was not judged. */
  readonly unjudgedBecause?: UnjudgedReason;
};

export const UNJUDGED_REASONS = [
  'reference_gone',
  'reference_stale',
  'stream_ended',
  'prober_stalled',
  'target_refused',
  'aborted',
] as const;
export type UnjudgedReason = (typeof UNJUDGED_REASONS)[number];

/** The score of a sample: its worst component; 0 for a failed one. @throws {RangeError} for an unjudged sample */
export function sampleScore(sample: ProbeSample): number {
  if (sample.verdict === 'unjudged') throw new RangeError('an unjudged sample has no score');
  if (sample.verdict === 'failed') return 0;
  return Math.min(1, ...Object.values(sample.components));
}
