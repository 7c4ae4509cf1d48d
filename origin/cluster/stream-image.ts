import { z } from 'zod';
import { Presentation, RENDITION_ID_PATTERN, STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import { digestOf, LiveSegment, type InitSection, type LivePart } from '#origin/live/live-segment.ts';
import type { RestoredRendition, StreamImage } from '#origin/live/stream-recorder.ts';

/** An image that cannot be read, or that came damaged. */
export class StreamImageError extends Error {
  override readonly name = 'StreamImageError';
  readonly code = 'stream_image_invalid';
}

const Bytes = z.object({ bytes: z.int().min(0), digest: z.string().max(64) });
const Part = z.object({
  durationTicks: z.int().min(1),
  independent: z.boolean(),
  /** Follows after the description, in order. */
  media: Bytes.optional(),
  /** Lies in the recording. */
  stored: Bytes.optional(),
});
const Segment = z.object({
  msn: z.int().min(0),
  kind: z.enum(['video', 'audio']),
  timescale: z.int().min(1),
  discontinuity: z.boolean(),
  discontinuityNumber: z.int().min(0),
  startUtcMs: z.number(),
  initTimeline: z.int().optional(),
  isComplete: z.boolean(),
  durationTicks: z.int().min(0),
  /** Of a segment whose parts are in the recording. */
  storedBytes: z.int().min(0),
  parts: z.array(Part).max(64),
});
const Description = Presentation.shape.renditions.element;
const Image = z.object({
  streamId: z.string().regex(STREAM_ID_PATTERN),
  firstMsn: z.int().min(1),
  state: z.object({
    constants: z.object({ targetDurationS: z.int().min(1), partTargetMs: z.int().min(1) }),
    liveWindowMs: z.number(),
    reconnectWindowMs: z.number(),
    writer: z.object({ sessionId: z.string(), fencingToken: z.int() }),
    timeline: z.object({
      firstMsn: z.int().min(1),
      presentation: Presentation,
      startUtcMs: z.number(),
      beganUtcMs: z.number(),
      discontinuityNumber: z.int().min(0),
    }),
    renditions: z.array(z.object({ description: Description, isRetired: z.boolean() })).max(64),
  }),
  renditions: z
    .array(
      z.object({
        id: z.string().regex(RENDITION_ID_PATTERN),
        description: Description,
        isRetired: z.boolean(),
        inits: z.array(Bytes.extend({ timeline: z.int(), kind: z.enum(['video', 'audio']) })).max(1_000),
        segments: z.array(Segment).max(10_000),
      }),
    )
    .max(64),
});
type Image = z.infer<typeof Image>;

const LENGTH_BYTES = 4;

/** A stream's window as one body: the length of its description, the description as JSON, then all media in order. */
export function encodeStreamImage(image: StreamImage): Uint8Array<ArrayBuffer> {
  const media: Uint8Array[] = [];
  const take = (object: { readonly bytes: Uint8Array; readonly digest: string }) => {
    media.push(object.bytes);
    return { bytes: object.bytes.length, digest: object.digest };
  };
  const segment = (from: LiveSegment, isComplete: boolean): z.infer<typeof Segment> => {
    const { init, ...origin } = from.origin;
    return {
      ...origin,
      ...(init && { initTimeline: init.timeline }),
      isComplete,
      durationTicks: from.durationTicks,
      storedBytes: from.totalBytes - from.mediaBytes,
      parts: from.parts.map(({ durationTicks, independent, media: bytes, stored }) => ({
        durationTicks,
        independent,
        ...(bytes && { media: take(bytes) }),
        ...(stored && { stored }),
      })),
    };
  };
  const description: Image = {
    ...image,
    state: { ...image.state, renditions: [...image.state.renditions] },
    renditions: image.renditions.map((rendition) => ({
      id: rendition.description.id,
      description: rendition.description,
      isRetired: rendition.isRetired,
      inits: rendition.inits.map((init) => ({ ...take(init), timeline: init.timeline, kind: init.kind })),
      segments: [
        ...rendition.complete.map((one) => segment(one, true)),
        ...(rendition.open === undefined ? [] : [segment(rendition.open, false)]),
      ],
    })),
  };
  const json = new TextEncoder().encode(JSON.stringify(description));
  const length = media.reduce((sum, bytes) => sum + bytes.length, LENGTH_BYTES + json.length);
  const body = new Uint8Array(length);
  new DataView(body.buffer).setUint32(0, json.length);
  body.set(json, LENGTH_BYTES);
  let offset = LENGTH_BYTES + json.length;
  for (const bytes of media) {
    body.set(bytes, offset);
    offset += bytes.length;
  }
  return body;
}

/**
 * Reads what {@link encodeStreamImage} wrote; every digest is checked.
 *
 * @param nowMs monotonic
 * @throws {StreamImageError}
 */
export function decodeStreamImage(body: Uint8Array<ArrayBuffer>, nowMs: number): StreamImage {
  const reader = new ImageReader(body);
  const { renditions, ...image } = reader.description();
  return { ...image, renditions: renditions.map((rendition) => readRendition(rendition, reader, nowMs)) };
}

class ImageReader {
  readonly #body: Uint8Array<ArrayBuffer>;
  #offset = 0;

  constructor(body: Uint8Array<ArrayBuffer>) {
    this.#body = body;
  }

  description(): Image {
    if (this.#body.length < LENGTH_BYTES) throw new StreamImageError('the image is cut off');
    const length = new DataView(this.#body.buffer, this.#body.byteOffset).getUint32(0);
    this.#offset = LENGTH_BYTES;
    const json = new TextDecoder().decode(this.#next(length));
    try {
      return Image.parse(JSON.parse(json));
    } catch (error) {
      throw new StreamImageError('the image describes no stream', { cause: error });
    }
  }

  media({ bytes, digest }: z.infer<typeof Bytes>): { bytes: Uint8Array<ArrayBuffer>; digest: string } {
    // A copy of its own: a view would keep the whole image in memory for as long as one part of it.
    const copy = this.#next(bytes).slice();
    if (digestOf(copy) !== digest) throw new StreamImageError('the image is damaged');
    return { bytes: copy, digest };
  }

  #next(length: number): Uint8Array<ArrayBuffer> {
    const end = this.#offset + length;
    if (end > this.#body.length) throw new StreamImageError('the image is cut off');
    const bytes = this.#body.subarray(this.#offset, end);
    this.#offset = end;
    return bytes;
  }
}

function readRendition(
  { description, isRetired, inits: listed, segments }: Image['renditions'][number],
  reader: ImageReader,
  nowMs: number,
): RestoredRendition {
  const inits: InitSection[] = listed.map((init) => ({
    ...reader.media(init),
    timeline: init.timeline,
    kind: init.kind,
  }));
  const read = segments.map((segment) => readSegment(segment, inits, reader, nowMs));
  const isOpen = segments.at(-1)?.isComplete === false;
  return {
    description,
    isRetired,
    inits,
    complete: isOpen ? read.slice(0, -1) : read,
    open: isOpen ? read.at(-1) : undefined,
  };
}

function readSegment(
  { parts: listed, isComplete, durationTicks, storedBytes, initTimeline, ...origin }: z.infer<typeof Segment>,
  inits: readonly InitSection[],
  reader: ImageReader,
  nowMs: number,
): LiveSegment {
  const init = inits.find(({ timeline }) => timeline === initTimeline);
  const parts = listed.map(({ media, stored, ...part }): LivePart => ({
    ...part,
    media: media && reader.media(media),
    stored,
  }));
  if (isComplete && storedBytes > 0)
    return LiveSegment.restored({ ...origin, init }, { durationTicks, bytes: storedBytes, parts }, nowMs);
  const segment = new LiveSegment({ ...origin, init });
  for (const part of parts) segment.add(part);
  if (isComplete) segment.complete(nowMs);
  return segment;
}
