/** A part's place in a rendition: Media Sequence Number and Part Index. @spec rfc8216bis §3.2 */
export type PartPosition = { readonly msn: number; readonly part: number };

/** Negative when `a` comes before `b`, 0 when they are the same place. */
export function comparePositions(a: PartPosition, b: PartPosition): number {
  return a.msn - b.msn || a.part - b.part;
}

/** The later of two places, either of which may not exist yet. */
export function laterPosition(
  a: PartPosition | undefined,
  b: PartPosition | undefined,
): PartPosition | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return comparePositions(a, b) >= 0 ? a : b;
}
