import { z } from 'zod';
import { digestOf } from '#origin/live/live-segment.ts';
import type { PartEntry, SegmentEntry } from '#origin/recording/segment-entry.ts';

const Origin = z.object({
  msn: z.number(),
  timescale: z.number().min(1),
  startUtcMs: z.number(),
  discontinuity: z.boolean(),
  discontinuityNumber: z.number(),
  initTimeline: z.number().nullable(),
});
const Part = z.object({
  kind: z.literal('part'),
  /** Said with the first part. */
  origin: Origin.optional(),
  durationTicks: z.number(),
  independent: z.boolean(),
  bytes: z.number().min(0),
  digest: z.string(),
});
const Header = z.discriminatedUnion('kind', [Part, z.object({ kind: z.literal('end'), digest: z.string() })]);

/** What stands before the bytes of a part; `end` closes the segment. */
export type SpooledHeader = z.infer<typeof Header>;
export type SpooledOrigin = z.infer<typeof Origin>;

/** A segment as it was on disk. */
export type SpooledSegment = {
  readonly origin: SpooledOrigin;
  readonly parts: readonly (PartEntry & { readonly media: Uint8Array<ArrayBuffer> | undefined })[];
  /** All of the parts' bytes in a row. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Undefined while it was open. */
  readonly entry: SegmentEntry | undefined;
};

/** Parts of one segment, with room for the odd one. */
const RECORDS_MAX = 128;
const HEADER_BYTES_MAX = 4_096;

/**
 * Reads a file of the spool. A last record that is not whole is left out: it was being written when the process died.
 *
 * @returns undefined when there is no whole part in it
 * @throws {Error} when it is not what the spool writes
 */
export function readSpooled(file: Uint8Array): SpooledSegment | undefined {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const parts: { entry: PartEntry; from: number }[] = [];
  let origin: SpooledOrigin | undefined;
  let digest: string | undefined;
  for (let offset = 0, records = 0; offset + 4 <= file.length && records < RECORDS_MAX; records++) {
    const headerBytes = view.getUint32(offset);
    if (headerBytes > HEADER_BYTES_MAX) throw new Error('not a file of the spool');
    const from = offset + 4 + headerBytes;
    if (from > file.length) break;
    const header = Header.parse(JSON.parse(new TextDecoder().decode(file.subarray(offset + 4, from))));
    if (header.kind === 'end') {
      digest = header.digest;
      break;
    }
    const { durationTicks, independent, bytes } = header;
    if (from + bytes > file.length) break;
    if (bytes > 0 && digestOf(file.subarray(from, from + bytes)) !== header.digest)
      throw new Error('a spooled part is not what was written');
    origin ??= header.origin;
    parts.push({ entry: { durationTicks, independent, bytes, digest: header.digest }, from });
    offset = from + bytes;
  }
  if (origin === undefined) return undefined;
  return assemble(file, origin, parts, digest);
}

function assemble(
  file: Uint8Array,
  origin: SpooledOrigin,
  found: readonly { readonly entry: PartEntry; readonly from: number }[],
  digest: string | undefined,
): SpooledSegment {
  const bytes = new Uint8Array(found.reduce((sum, { entry }) => sum + entry.bytes, 0));
  let offset = 0;
  const parts = found.map(({ entry, from }) => {
    if (entry.bytes === 0) return { ...entry, media: undefined };
    const media = bytes.subarray(offset, offset + entry.bytes);
    media.set(file.subarray(from, from + entry.bytes));
    offset += entry.bytes;
    return { ...entry, media };
  });
  const durationTicks = parts.reduce((sum, part) => sum + part.durationTicks, 0);
  const entry =
    digest === undefined
      ? undefined
      : { ...origin, durationTicks, bytes: bytes.length, digest, parts: found.map((part) => part.entry) };
  return { origin, parts, bytes, entry };
}
