/** A CDN as the limit on ejections sees it. */
export type EjectionCandidate = {
  readonly cdn: string;
  /** Its own history says that it should carry nobody. */
  readonly fallen: boolean;
  /** It fell because players could not play, not because it is slow. */
  readonly hard: boolean;
  /** Monotonic ms since when it has fallen. */
  readonly sinceMs: number;
};

/** Who of the fallen is really left out. */
export type EjectionVerdict = {
  readonly ejected: ReadonlySet<string>;
  /** Fallen, but kept because too many others are out: carries a little. */
  readonly spared: ReadonlySet<string>;
  /** Nobody is left: the picture is worth less than the order that ops gave, and that one stays. */
  readonly panic: boolean;
};

/**
 * Limits how many CDNs may be ejected at once: a share of all, and never the last one. Pure.
 *
 * When every CDN has fallen, the fault is more likely on our side, or at least there is nowhere better to go: those that
 * are merely slow carry on, and when all have failed nobody is ejected (panic).
 *
 * @param shareMax 0…1
 */
export function limitEjections(candidates: readonly EjectionCandidate[], shareMax: number): EjectionVerdict {
  const fallen = candidates.filter((candidate) => candidate.fallen);
  const panic = fallen.length === candidates.length && fallen.every(({ hard }) => hard);
  if (panic)
    return { ejected: new Set(), spared: new Set(fallen.map(({ cdn }) => cdn)), panic: fallen.length > 0 };
  const allowed = Math.min(
    candidates.length - 1,
    Math.max(1, Math.floor(candidates.length * shareMax + 1e-9)),
  );
  const worstFirst = [...fallen].sort(
    (a, b) => Number(b.hard) - Number(a.hard) || a.sinceMs - b.sinceMs || (a.cdn < b.cdn ? -1 : 1),
  );
  return {
    ejected: new Set(worstFirst.slice(0, allowed).map(({ cdn }) => cdn)),
    spared: new Set(worstFirst.slice(allowed).map(({ cdn }) => cdn)),
    panic: false,
  };
}
