/** A value at a time. */
export type Point = { readonly atMs: number; readonly value: number };

/** The part of the time that a chart shows, and its size in user units. */
export type ChartFrame = {
  readonly fromMs: number;
  readonly toMs: number;
  readonly width: number;
  readonly height: number;
};

/** A gap longer than this is shown as one. */
const GAP_MS = 15_000;

/**
 * Path of a line through values from 0 to 1, one step per change, with gaps where nothing was known. Points must be in
 * order of time; those outside the frame are left out.
 */
export function stepPath(points: readonly Point[], frame: ChartFrame): string {
  let path = '';
  let before: Point | undefined;
  for (const point of inside(points, frame)) {
    const [x, y] = place(point, frame);
    if (before === undefined || point.atMs - before.atMs > GAP_MS) path += `M${x} ${y}`;
    else if (point.value !== before.value) path += `H${x}V${y}`;
    else path += `H${x}`;
    before = point;
  }
  return path;
}

/** Runs of the same word over time, as x and width, for coloured bands. */
export function bands(
  points: readonly { readonly atMs: number; readonly word: string }[],
  frame: ChartFrame,
): { readonly word: string; readonly x: number; readonly width: number }[] {
  const found: { word: string; x: number; width: number }[] = [];
  const shown = inside(points, frame);
  for (const [index, point] of shown.entries()) {
    const next = shown[index + 1];
    const endMs = Math.min(next?.atMs ?? frame.toMs, point.atMs + GAP_MS, frame.toMs);
    const x = scaleX(point.atMs, frame);
    const width = round(scaleX(endMs, frame) - x);
    const last = found.at(-1);
    if (last !== undefined && last.word === point.word && Math.abs(last.x + last.width - x) < 0.5)
      last.width = round(x + width - last.x);
    else if (width > 0) found.push({ word: point.word, x, width });
  }
  return found;
}

function inside<At extends { readonly atMs: number }>(points: readonly At[], frame: ChartFrame): At[] {
  return points.filter(({ atMs }) => atMs >= frame.fromMs && atMs <= frame.toMs);
}

function place(point: Point, frame: ChartFrame): [number, number] {
  const value = Math.min(1, Math.max(0, point.value));
  return [scaleX(point.atMs, frame), round(frame.height * (1 - value))];
}

function scaleX(atMs: number, frame: ChartFrame): number {
  return round(((atMs - frame.fromMs) / (frame.toMs - frame.fromMs)) * frame.width);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
