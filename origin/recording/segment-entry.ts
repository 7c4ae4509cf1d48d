import { z } from 'zod';

/** A part as the index knows it; only of the newest segments, which are listed with their parts. */
export type PartEntry = {
  readonly durationTicks: number;
  readonly independent: boolean;
  /** 0 when it is a gap. */
  readonly bytes: number;
  readonly digest: string;
};

/** A complete segment as the index knows it: all that a playlist says of it. */
export type SegmentEntry = {
  readonly msn: number;
  readonly durationTicks: number;
  readonly timescale: number;
  /** 0 when it is a gap. */
  readonly bytes: number;
  /** Wall clock of the first sample, fractional ms since the Unix epoch. */
  readonly startUtcMs: number;
  readonly discontinuity: boolean;
  readonly discontinuityNumber: number;
  /** Timeline of its init segment; null when nothing but gaps came before. */
  readonly initTimeline: number | null;
  /** Names the bytes; '' when it is a gap. */
  readonly digest: string;
  readonly parts: readonly PartEntry[];
};

/** Segments of one row of the index. */
export const PAGE_SEGMENTS = 32;
export const pageOf = (msn: number): number => Math.floor(msn / PAGE_SEGMENTS);

export const durationMsOf = ({
  durationTicks,
  timescale,
}: Pick<SegmentEntry, 'durationTicks' | 'timescale'>): number => (durationTicks * 1000) / timescale;
export const endUtcMsOf = (entry: SegmentEntry): number => entry.startUtcMs + durationMsOf(entry);

const count = z.number().min(0);
const PartRow = z.tuple([count, z.boolean(), count, z.string()]);
const Row = z.tuple([
  count,
  count,
  z.number().min(1),
  count,
  z.number(),
  z.boolean(),
  count,
  count.nullable(),
  z.string(),
  z.array(PartRow),
]);
export type SegmentRow = z.infer<typeof Row>;

/** An entry as it is stored. @param withParts whether its parts may still be listed after a restart */
export function toRow(entry: SegmentEntry, withParts: boolean): SegmentRow {
  const { msn, durationTicks, timescale, bytes, startUtcMs, discontinuity, discontinuityNumber } = entry;
  const parts = withParts ? entry.parts : [];
  return [
    msn,
    durationTicks,
    timescale,
    bytes,
    startUtcMs,
    discontinuity,
    discontinuityNumber,
    entry.initTimeline,
    entry.digest,
    parts.map((part) => [part.durationTicks, part.independent, part.bytes, part.digest]),
  ];
}

/** @throws {z.ZodError} when the row was not written by {@link toRow} */
export function fromRow(row: unknown): SegmentEntry {
  const [
    msn,
    durationTicks,
    timescale,
    bytes,
    startUtcMs,
    discontinuity,
    discontinuityNumber,
    init,
    digest,
    parts,
  ] = Row.parse(row);
  return {
    msn,
    durationTicks,
    timescale,
    bytes,
    startUtcMs,
    discontinuity,
    discontinuityNumber,
    initTimeline: init,
    digest,
    parts: parts.map(([ticks, independent, size, name]) => ({
      durationTicks: ticks,
      independent,
      bytes: size,
      digest: name,
    })),
  };
}

/** The same place in the row of numbers without media: its bytes are lost, or never came. */
export function asGap(entry: SegmentEntry): SegmentEntry {
  return { ...entry, bytes: 0, digest: '', parts: [] };
}

/** The gap that takes the place of a segment of which nothing is known, after one of which all is. */
export function gapAfter(previous: SegmentEntry): SegmentEntry {
  return {
    ...asGap(previous),
    msn: previous.msn + 1,
    startUtcMs: endUtcMsOf(previous),
    discontinuity: false,
  };
}
