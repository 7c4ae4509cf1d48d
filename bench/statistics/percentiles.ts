/** The figures of a list of measurements, in the unit of the measurements. */
export type Summary = {
  readonly count: number;
  readonly min: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
};

/** Summarises measurements; `undefined` when there are none, for a figure of nothing is not zero. */
export function summarise(values: readonly number[]): Summary | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  // Nearest rank: every figure is a value that was really measured.
  const at = (fraction: number): number =>
    sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)] ?? Number.NaN;
  if (sorted.length === 0) return undefined;
  return { count: sorted.length, min: at(0), p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}
