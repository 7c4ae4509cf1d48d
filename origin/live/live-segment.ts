import { hash } from 'node:crypto';
import type { MediaSegment, SegmentStart } from '#protocol/hls/media-segment.ts';
import { initUri, partUri, segmentUri } from '#protocol/hls/media-uris.ts';
import type { PartialSegment } from '#protocol/hls/partial-segment.ts';

/** Bytes that are served under a URL of their own, for ever the same. */
export type MediaObject = {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Names the bytes: the same in every origin that holds them. Base64url. */
  readonly digest: string;
};

export type MediaKind = 'video' | 'audio';

/** An init segment. @spec rfc8216bis §4.4.4.5 */
export type InitSection = MediaObject & { readonly timeline: number; readonly kind: MediaKind };

/** A part as it is kept. */
export type LivePart = {
  /** In the timescale of its segment. */
  readonly durationTicks: number;
  readonly independent: boolean;
  /** None when the part is listed with GAP=YES, and when its bytes are `stored` elsewhere. */
  readonly media: MediaObject | undefined;
  /** Of a part that another process received: it is listed, its bytes come from the recording. */
  readonly stored?: StoredPart | undefined;
};

/** Size and name of bytes that are not in memory. */
export type StoredPart = { readonly bytes: number; readonly digest: string };

/** What is known of a segment when its first part is listed, and never changes. */
export type SegmentOrigin = {
  readonly msn: number;
  readonly kind: MediaKind;
  readonly timescale: number;
  readonly discontinuity: boolean;
  /** @spec rfc8216bis §6.2.1, Discontinuity Sequence Number */
  readonly discontinuityNumber: number;
  /** None while the rendition has had nothing but gaps. */
  readonly init: InitSection | undefined;
  /** Wall clock of the first sample, fractional ms since the Unix epoch. */
  readonly startUtcMs: number;
};

/** A segment in memory: open while parts are added, then complete and for ever the same. */
export class LiveSegment {
  readonly origin: SegmentOrigin;
  readonly #parts: LivePart[] = [];
  #durationTicks = 0;
  #mediaBytes = 0;
  #storedBytes = 0;
  #body: MediaObject | undefined;
  #complete:
    { readonly atMs: number; readonly listed: MediaSegment; readonly bare: MediaSegment } | undefined;
  /** Monotonic time until which its parts may still be fetched one by one; unlimited while they are listed. */
  partsUntilMs = Number.POSITIVE_INFINITY;

  constructor(origin: SegmentOrigin) {
    this.origin = origin;
  }

  /**
   * A complete segment whose bytes are not in memory but recorded.
   *
   * @param parts what is known of its parts; none when it will be listed without
   */
  static restored(
    origin: SegmentOrigin,
    stored: { readonly durationTicks: number; readonly bytes: number; readonly parts: readonly LivePart[] },
    atMs: number,
  ): LiveSegment {
    const segment = new LiveSegment(origin);
    segment.#parts.push(...stored.parts);
    segment.#durationTicks = stored.durationTicks;
    segment.#storedBytes = stored.bytes;
    segment.#list(atMs);
    return segment;
  }

  get msn(): number {
    return this.origin.msn;
  }

  get parts(): readonly LivePart[] {
    return this.#parts;
  }

  get durationTicks(): number {
    return this.#durationTicks;
  }

  /** Fractional milliseconds. */
  get durationMs(): number {
    return (this.#durationTicks * 1000) / this.origin.timescale;
  }

  get endUtcMs(): number {
    return this.origin.startUtcMs + this.durationMs;
  }

  /** In memory. */
  get mediaBytes(): number {
    return this.#mediaBytes;
  }

  /** In memory or recorded. */
  get totalBytes(): number {
    return this.#mediaBytes + this.#storedBytes;
  }

  /** Whether there is no media in it. */
  get isGap(): boolean {
    return this.totalBytes === 0;
  }

  /** Whether a frame that needs others can be decoded here: something independent came before it. */
  get isDecodable(): boolean {
    return this.#parts.some((part) => part.independent && part.media !== undefined);
  }

  /** Monotonic time of completion; undefined while open. */
  get completedAtMs(): number | undefined {
    return this.#complete?.atMs;
  }

  /** The whole segment; undefined while it is open and when there is no media in it. */
  get body(): MediaObject | undefined {
    return this.#body;
  }

  /** Adds the next part; the segment must be open. */
  add(part: LivePart): void {
    this.#parts.push(part);
    this.#durationTicks += part.durationTicks;
    this.#mediaBytes += part.media?.bytes.length ?? 0;
  }

  /**
   * Closes the segment. The bytes of its parts move into one body, of which the parts are views from now on, so that a
   * segment costs its bytes once.
   */
  complete(atMs: number): void {
    this.#joinParts();
    this.#list(atMs);
  }

  #list(atMs: number): void {
    const start = this.#startWith(this.#playlistParts());
    const segment = {
      uri: segmentUri(this.msn),
      duration: { ticks: this.#durationTicks, timescale: this.origin.timescale },
      gap: this.isGap,
    };
    this.#complete = { atMs, listed: { ...start, ...segment }, bare: { ...start, ...segment, parts: [] } };
  }

  /**
   * The segment as a playlist lists it, with its parts or without.
   *
   * @throws when it is still open
   */
  listed(withParts: boolean): MediaSegment {
    if (this.#complete === undefined) throw new Error(`segment ${this.msn} is listed before it is complete`);
    return withParts ? this.#complete.listed : this.#complete.bare;
  }

  /** The beginning of the segment as it is now. */
  listedOpen(): SegmentStart {
    return this.#startWith(this.#playlistParts());
  }

  #startWith(parts: readonly PartialSegment[]): SegmentStart {
    const { discontinuity, init, startUtcMs } = this.origin;
    return {
      discontinuity,
      mapUri: init === undefined ? undefined : initUri(init.timeline),
      programDateTimeMs: startUtcMs,
      parts,
    };
  }

  #playlistParts(): PartialSegment[] {
    return this.#parts.map((part, index) => ({
      uri: partUri(this.msn, index),
      duration: { ticks: part.durationTicks, timescale: this.origin.timescale },
      independent: part.independent,
      gap: part.media === undefined && part.stored === undefined,
    }));
  }

  #joinParts(): void {
    const media = this.#parts.flatMap((part) => part.media ?? []);
    const [first] = media;
    if (first === undefined) return;
    if (media.length === 1) {
      this.#body = first;
      return;
    }
    const bytes = new Uint8Array(this.#mediaBytes);
    let offset = 0;
    this.#parts.forEach((part, index) => {
      if (part.media === undefined) return;
      const view = bytes.subarray(offset, offset + part.media.bytes.length);
      view.set(part.media.bytes);
      offset += view.length;
      this.#parts[index] = { ...part, media: { bytes: view, digest: part.media.digest } };
    });
    this.#body = { bytes, digest: digestOf(media.map(({ digest }) => digest).join(' ')) };
  }
}

/** SHA-256, base64url. */
export function digestOf(content: Uint8Array | string): string {
  return hash('sha256', content, 'base64url');
}
