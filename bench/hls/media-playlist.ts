import { decimal, readAttributes, required, type Attributes } from '#bench/hls/attribute-list.ts';

/** A part as a playlist lists it. */
export type ListedPart = {
  readonly msn: number;
  readonly part: number;
  readonly uri: string;
  readonly durationS: number;
  readonly independent: boolean;
  readonly gap: boolean;
};

/** A parent segment; the one being written has no `uri` and no `durationS` yet. */
export type ListedSegment = {
  readonly msn: number;
  readonly uri: string | undefined;
  readonly durationS: number | undefined;
  readonly gap: boolean;
  /** EXT-X-DISCONTINUITY stands before it. */
  readonly discontinuity: boolean;
  /** EXT-X-PROGRAM-DATE-TIME of its own, ms since the Unix epoch. */
  readonly programDateTimeMs: number | undefined;
  /** URI of the EXT-X-MAP in force. */
  readonly mapUri: string | undefined;
  readonly parts: readonly ListedPart[];
};

/** Where a peer stands, as told by this playlist. */
export type RenditionReport = { readonly uri: string; readonly lastMsn: number; readonly lastPart: number };

/** A media playlist as a client sees it. */
export type MediaPlaylist = {
  readonly text: string;
  readonly version: number;
  readonly targetDurationS: number;
  readonly partTargetS: number | undefined;
  readonly serverControl: Attributes;
  readonly mediaSequence: number;
  readonly discontinuitySequence: number | undefined;
  /** EXT-X-SKIP: this many segments were left out at the start. */
  readonly skippedSegments: number;
  readonly segments: readonly ListedSegment[];
  readonly preloadHints: readonly { readonly type: string; readonly uri: string }[];
  readonly renditionReports: readonly RenditionReport[];
  readonly endlist: boolean;
  readonly playlistType: string | undefined;
};

type Draft = {
  -readonly [Field in keyof Omit<ListedSegment, 'parts'>]: ListedSegment[Field];
} & { parts: ListedPart[] };

/**
 * Reads a media playlist. Written for the judge alone, apart from the code that writes playlists.
 *
 * @throws {Error} naming the line that is not HLS
 * @spec rfc8216bis §4.4
 */
export function readMediaPlaylist(text: string): MediaPlaylist {
  const lines = text.split('\n');
  if (lines[0] !== '#EXTM3U') throw new Error('a playlist begins with #EXTM3U');
  const reader = new MediaPlaylistReader(text);
  for (const [index, line] of lines.entries()) {
    try {
      reader.line(line);
    } catch (error) {
      throw new Error(`line ${index + 1} ${JSON.stringify(line)}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
  return reader.finish();
}

class MediaPlaylistReader {
  readonly #text: string;
  readonly #tags = new Map<string, string>();
  readonly #segments: ListedSegment[] = [];
  readonly #hints: { type: string; uri: string }[] = [];
  readonly #reports: RenditionReport[] = [];
  #mapUri: string | undefined;
  #skipped = 0;
  #open: Draft | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  line(line: string): void {
    if (line === '') return;
    if (!line.startsWith('#')) return this.#segment(line);
    if (!line.startsWith('#EXT')) return;
    const colon = line.indexOf(':');
    const name = colon < 0 ? line.slice(1) : line.slice(1, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1);
    this.#tag(name, value);
  }

  finish(): MediaPlaylist {
    if (this.#open !== undefined && this.#open.parts.length > 0) this.#segments.push(this.#open);
    const integer = (name: string): number | undefined => {
      const value = this.#tags.get(name);
      if (value === undefined) return undefined;
      if (!/^\d+$/.test(value)) throw new Error(`${name} is not a whole number: ${value}`);
      return Number(value);
    };
    const targetDurationS = integer('EXT-X-TARGETDURATION');
    if (targetDurationS === undefined) throw new Error('EXT-X-TARGETDURATION is missing');
    return {
      text: this.#text,
      version: integer('EXT-X-VERSION') ?? 1,
      targetDurationS,
      partTargetS: decimal(readAttributes(this.#tags.get('EXT-X-PART-INF') ?? 'NONE=0'), 'PART-TARGET'),
      serverControl: readAttributes(this.#tags.get('EXT-X-SERVER-CONTROL') ?? 'NONE=0'),
      mediaSequence: integer('EXT-X-MEDIA-SEQUENCE') ?? 0,
      discontinuitySequence: integer('EXT-X-DISCONTINUITY-SEQUENCE'),
      skippedSegments: this.#skipped,
      segments: this.#segments,
      preloadHints: this.#hints,
      renditionReports: this.#reports,
      endlist: this.#tags.has('EXT-X-ENDLIST'),
      playlistType: this.#tags.get('EXT-X-PLAYLIST-TYPE'),
    };
  }

  #tag(name: string, value: string): void {
    switch (name) {
      case 'EXTINF':
        this.#draft().durationS = Number(/^(\d+(\.\d+)?),/.exec(value)?.[1] ?? Number.NaN);
        break;
      case 'EXT-X-PART':
        this.#part(readAttributes(value));
        break;
      case 'EXT-X-GAP':
        this.#draft().gap = true;
        break;
      case 'EXT-X-DISCONTINUITY':
        this.#beforeParts(name).discontinuity = true;
        break;
      case 'EXT-X-PROGRAM-DATE-TIME':
        this.#beforeParts(name).programDateTimeMs = Date.parse(value);
        break;
      case 'EXT-X-MAP':
        this.#mapUri = required(readAttributes(value), 'URI');
        this.#beforeParts(name).mapUri = this.#mapUri;
        break;
      case 'EXT-X-SKIP':
        this.#skipped = decimal(readAttributes(value), 'SKIPPED-SEGMENTS') ?? 0;
        // Tags of the first listed segment may already have been seen.
        if (this.#open !== undefined) this.#open.msn += this.#skipped;
        break;
      case 'EXT-X-PRELOAD-HINT': {
        const hint = readAttributes(value);
        this.#hints.push({ type: required(hint, 'TYPE'), uri: required(hint, 'URI') });
        break;
      }
      case 'EXT-X-RENDITION-REPORT': {
        const report = readAttributes(value);
        this.#reports.push({
          uri: required(report, 'URI'),
          lastMsn: Number(required(report, 'LAST-MSN')),
          lastPart: Number(required(report, 'LAST-PART')),
        });
        break;
      }
      default:
        if (this.#tags.has(name)) throw new Error(`${name} comes twice`);
        this.#tags.set(name, value);
    }
  }

  #draft(): Draft {
    this.#open ??= {
      msn: Number(this.#tags.get('EXT-X-MEDIA-SEQUENCE') ?? 0) + this.#skipped + this.#segments.length,
      uri: undefined,
      durationS: undefined,
      gap: false,
      discontinuity: false,
      programDateTimeMs: undefined,
      mapUri: this.#mapUri,
      parts: [],
    };
    return this.#open;
  }

  /** @spec rfc8216bis §6.2.1: tags that hold for a whole parent segment come before its first part. */
  #beforeParts(name: string): Draft {
    const draft = this.#draft();
    if (draft.parts.length > 0) throw new Error(`${name} after the first part of its segment`);
    return draft;
  }

  #part(attributes: Attributes): void {
    const { msn, parts } = this.#draft();
    const durationS = decimal(attributes, 'DURATION');
    if (durationS === undefined) throw new Error('a part without DURATION');
    parts.push({
      msn,
      part: parts.length,
      uri: required(attributes, 'URI'),
      durationS,
      independent: attributes.get('INDEPENDENT') === 'YES',
      gap: attributes.get('GAP') === 'YES',
    });
  }

  #segment(uri: string): void {
    const draft = this.#draft();
    if (draft.durationS === undefined || Number.isNaN(draft.durationS))
      throw new Error('a segment without a valid EXTINF');
    draft.uri = uri;
    this.#segments.push(draft);
    this.#open = undefined;
  }
}
