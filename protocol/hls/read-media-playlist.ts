/**
 * A reader of LL-HLS media playlists for those who watch a stream from outside: the CDN probes, the judge of the bench.
 * It reads what tells how far a playlist has come and where its newest parts are, strictly and within limits, and
 * ignores tags that say neither. It is not a player's parser.
 */

/** Limits of what is read; more than this is refused, never cut off silently. */
export const MEDIA_PLAYLIST_CHARS_MAX = 1024 * 1024;
export const MEDIA_PLAYLIST_LINES_MAX = 20_000;
export const PLAYLIST_URI_CHARS_MAX = 2_048;

/** A partial segment as listed. @spec rfc8216bis §4.4.4.9 */
export type ListedPart = {
  readonly msn: number;
  readonly part: number;
  /** Seconds. */
  readonly durationS: number;
  readonly uri: string;
  readonly independent: boolean;
  /** GAP=YES: listed, but not there to be fetched. */
  readonly gap: boolean;
  /** The bytes of the part inside its resource, if it is not the whole of it. */
  readonly byteRange?: { readonly offset: number; readonly length: number };
};

/** What a media playlist says about the live edge. Times are seconds; instants are ms since the Unix epoch. */
export type ReadMediaPlaylist = {
  readonly version: number;
  readonly targetDurationS: number;
  /** PART-TARGET; absent when the stream has no parts. */
  readonly partTargetS?: number;
  readonly partHoldBackS?: number;
  readonly canBlockReload: boolean;
  /** CAN-SKIP-UNTIL. */
  readonly canSkipUntilS?: number;
  readonly mediaSequence: number;
  readonly discontinuitySequence: number;
  /** Complete segments, those that a delta update left out included. */
  readonly segmentCount: number;
  /** Segments left out by EXT-X-SKIP. */
  readonly skippedSegments: number;
  readonly segments: readonly ListedSegment[];
  readonly parts: readonly ListedPart[];
  /** The part that is announced but not made yet. @spec rfc8216bis §4.4.5.3 */
  readonly preloadHint?: { readonly uri: string };
  /** URI of the newest EXT-X-MAP. */
  readonly mapUri?: string;
  readonly renditionReports: readonly RenditionReport[];
  /** EXT-X-ENDLIST is there: nothing will be added any more. */
  readonly ended: boolean;
  /** End of the newest media on the wall clock by PROGRAM-DATE-TIME and the durations since, if there is one. */
  readonly liveEdgeUtcMs?: number;
};

/** A complete segment as listed. */
export type ListedSegment = {
  readonly msn: number;
  readonly durationS: number;
  readonly uri: string;
  readonly gap: boolean;
  readonly discontinuity: boolean;
};

/** @spec rfc8216bis §4.4.5.4 */
export type RenditionReport = { readonly uri: string; readonly lastMsn?: number; readonly lastPart?: number };

/** A place on the live edge: `part` counts within segment `msn`; parts complete of a segment that is still open. */
export type EdgePosition = { readonly msn: number; readonly part: number };

/** What was wrong with a playlist text. */
export type PlaylistErrorCode =
  'playlist_too_large' | 'playlist_not_m3u8' | 'playlist_tag_invalid' | 'playlist_tag_missing';

/** The text is not a media playlist that a player could use. `line` counts from 1; 0 speaks of the whole. */
export class PlaylistReadError extends Error {
  override readonly name = 'PlaylistReadError';
  readonly code: PlaylistErrorCode;
  readonly line: number;

  constructor(code: PlaylistErrorCode, line: number, message: string) {
    super(line === 0 ? message : `line ${line}: ${message}`);
    this.code = code;
    this.line = line;
  }
}

/**
 * Reads the text of a media playlist.
 *
 * @throws {PlaylistReadError} when it is too large, is no media playlist, or a tag that matters here is malformed
 * @spec rfc8216bis §4.4
 */
export function readMediaPlaylist(text: string): ReadMediaPlaylist {
  const lines = splitPlaylist(text);
  const reader = new Reader();
  for (const [index, line] of lines.entries()) reader.readLine(line, index + 1);
  return reader.finish();
}

/**
 * The part that a low-latency player asks for next: the one after the newest listed.
 *
 * @spec rfc8216bis §6.2.5.2: a part index beyond the last of a segment means part 0 of the next one, so the answer is
 * right also when the newest part was the last of its segment
 */
export function nextPart(playlist: ReadMediaPlaylist): EdgePosition {
  const newest = newestPart(playlist);
  const lastSegmentMsn = playlist.mediaSequence + playlist.segmentCount - 1;
  if (newest === undefined || newest.msn <= lastSegmentMsn) return { msn: lastSegmentMsn + 1, part: 0 };
  return { msn: newest.msn, part: newest.part + 1 };
}

/** The newest part listed; of a playlist without parts, the end of its last segment; `undefined` when it is empty. */
export function newestPart(playlist: ReadMediaPlaylist): EdgePosition | undefined {
  const part = playlist.parts.at(-1);
  if (part !== undefined && part.msn >= playlist.mediaSequence + playlist.segmentCount - 1)
    return { msn: part.msn, part: part.part };
  if (playlist.segmentCount === 0) return undefined;
  return { msn: playlist.mediaSequence + playlist.segmentCount - 1, part: Number.MAX_SAFE_INTEGER };
}

/** Whether the playlist contains `position` or anything later. @spec rfc8216bis §6.2.5.2 */
export function hasReached(playlist: ReadMediaPlaylist, position: EdgePosition): boolean {
  const newest = newestPart(playlist);
  if (newest === undefined) return false;
  return newest.msn > position.msn || (newest.msn === position.msn && newest.part >= position.part);
}

/** Splits a playlist into lines after checking its size and its first line. */
export function splitPlaylist(text: string): string[] {
  if (text.length > MEDIA_PLAYLIST_CHARS_MAX)
    throw new PlaylistReadError('playlist_too_large', 0, `more than ${MEDIA_PLAYLIST_CHARS_MAX} characters`);
  // @spec rfc8216bis §4.1: no byte order mark; the first line is the EXTM3U tag and nothing else.
  const lines = text.split(/\r?\n/, MEDIA_PLAYLIST_LINES_MAX + 1);
  if (lines.length > MEDIA_PLAYLIST_LINES_MAX)
    throw new PlaylistReadError('playlist_too_large', 0, `more than ${MEDIA_PLAYLIST_LINES_MAX} lines`);
  if (lines[0] !== '#EXTM3U') throw new PlaylistReadError('playlist_not_m3u8', 1, 'expected #EXTM3U');
  return lines;
}

const ATTRIBUTE = /([A-Z0-9-]{1,64})=("[^"\r\n]*"|[^",\s][^",]*)(?:,|$)/y;

/**
 * Reads an attribute list; quotes are taken off quoted strings.
 *
 * @throws {PlaylistReadError} when the list is malformed or names an attribute twice
 * @spec rfc8216bis §4.2
 */
export function readAttributeList(text: string, line: number): ReadonlyMap<string, string> {
  const attributes = new Map<string, string>();
  ATTRIBUTE.lastIndex = 0;
  let position = 0;
  while (position < text.length) {
    ATTRIBUTE.lastIndex = position;
    const match = ATTRIBUTE.exec(text);
    const name = match?.[1];
    const value = match?.[2];
    if (match === null || name === undefined || value === undefined)
      throw invalid(line, `malformed attribute list at character ${position + 1}`);
    if (attributes.has(name)) throw invalid(line, `${name} occurs twice`);
    attributes.set(name, value.startsWith('"') ? value.slice(1, -1) : value);
    position = ATTRIBUTE.lastIndex;
  }
  return attributes;
}

function invalid(line: number, message: string): PlaylistReadError {
  return new PlaylistReadError('playlist_tag_invalid', line, message);
}

function wholeNumber(text: string | undefined, line: number, what: string): number {
  if (text === undefined || !/^\d{1,15}$/.test(text)) throw invalid(line, `${what}: expected a whole number`);
  return Number(text);
}

function seconds(text: string | undefined, line: number, what: string): number {
  if (text === undefined || !/^\d{1,6}(\.\d{1,12})?$/.test(text))
    throw invalid(line, `${what}: expected seconds as a decimal number`);
  return Number(text);
}

function uri(text: string | undefined, line: number, what: string): string {
  if (text === undefined || text === '' || text.length > PLAYLIST_URI_CHARS_MAX)
    throw invalid(line, `${what}: expected a URI of at most ${PLAYLIST_URI_CHARS_MAX} characters`);
  return text;
}

const yes = (value: string | undefined): boolean => value === 'YES';

/** Collects a playlist line by line; the fields are what the tags so far have said. */
class Reader {
  #version = 1;
  #targetDurationS: number | undefined;
  #partTargetS: number | undefined;
  #control: ReadonlyMap<string, string> = new Map();
  #controlLine = 0;
  #mediaSequence = 0;
  #discontinuitySequence = 0;
  #skippedSegments = 0;
  #ended = false;
  #mapUri: string | undefined;
  #hint: { uri: string } | undefined;
  readonly #segments: ListedSegment[] = [];
  readonly #parts: ListedPart[] = [];
  readonly #reports: RenditionReport[] = [];

  // What belongs to the segment whose URI line has not come yet.
  #openDurationS: number | undefined;
  #openPartsS = 0;
  #openPartCount = 0;
  #openGap = false;
  #openDiscontinuity = false;
  #edgeUtcMs: number | undefined;
  #previousRange: { uri: string; end: number } | undefined;

  readLine(line: string, number: number): void {
    if (line === '') return;
    if (!line.startsWith('#')) {
      this.#segment(uri(line, number, 'segment'), number);
      return;
    }
    if (!line.startsWith('#EXT')) return;
    const colon = line.indexOf(':');
    const tag = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1);
    this.#tag(tag, value, number);
  }

  #tag(tag: string, value: string, line: number): void {
    switch (tag) {
      case '#EXT-X-VERSION':
        this.#version = wholeNumber(value, line, tag);
        return;
      case '#EXT-X-TARGETDURATION':
        this.#targetDurationS = wholeNumber(value, line, tag);
        return;
      case '#EXT-X-MEDIA-SEQUENCE':
        if (this.#segments.length + this.#parts.length > 0)
          throw invalid(line, `${tag} must come before the first segment`);
        this.#mediaSequence = wholeNumber(value, line, tag);
        return;
      case '#EXT-X-DISCONTINUITY-SEQUENCE':
        this.#discontinuitySequence = wholeNumber(value, line, tag);
        return;
      case '#EXT-X-PART-INF':
        this.#partTargetS = seconds(readAttributeList(value, line).get('PART-TARGET'), line, 'PART-TARGET');
        if (this.#partTargetS === 0) throw invalid(line, 'PART-TARGET must be greater than 0');
        return;
      case '#EXT-X-SERVER-CONTROL':
        this.#control = readAttributeList(value, line);
        this.#controlLine = line;
        return;
      case '#EXT-X-SKIP':
        if (this.#segments.length > 0) throw invalid(line, `${tag} must come before the first segment`);
        this.#skippedSegments = wholeNumber(
          readAttributeList(value, line).get('SKIPPED-SEGMENTS'),
          line,
          'SKIPPED-SEGMENTS',
        );
        return;
      case '#EXT-X-MAP':
        this.#mapUri = uri(readAttributeList(value, line).get('URI'), line, 'URI');
        return;
      case '#EXT-X-PROGRAM-DATE-TIME':
        this.#edgeUtcMs = instant(value, line) + this.#openPartsS * 1_000;
        return;
      case '#EXTINF':
        this.#openDurationS = seconds(/^[^,]*/.exec(value)?.[0], line, tag);
        return;
      case '#EXT-X-GAP':
        this.#openGap = true;
        return;
      case '#EXT-X-DISCONTINUITY':
        this.#openDiscontinuity = true;
        return;
      case '#EXT-X-PART':
        this.#part(readAttributeList(value, line), line);
        return;
      case '#EXT-X-PRELOAD-HINT': {
        const attributes = readAttributeList(value, line);
        if (attributes.get('TYPE') === 'PART') this.#hint = { uri: uri(attributes.get('URI'), line, 'URI') };
        return;
      }
      case '#EXT-X-RENDITION-REPORT':
        this.#report(readAttributeList(value, line), line);
        return;
      case '#EXT-X-ENDLIST':
        this.#ended = true;
        return;
      case '#EXT-X-STREAM-INF':
        throw new PlaylistReadError(
          'playlist_not_m3u8',
          line,
          'a multivariant playlist, not a media playlist',
        );
      default:
        return;
    }
  }

  get #openMsn(): number {
    return this.#mediaSequence + this.#skippedSegments + this.#segments.length;
  }

  #part(attributes: ReadonlyMap<string, string>, line: number): void {
    const durationS = seconds(attributes.get('DURATION'), line, 'DURATION');
    const partUri = uri(attributes.get('URI'), line, 'URI');
    const byteRange = this.#byteRange(attributes.get('BYTERANGE'), partUri, line);
    this.#parts.push({
      msn: this.#openMsn,
      part: this.#openPartCount,
      durationS,
      uri: partUri,
      independent: yes(attributes.get('INDEPENDENT')),
      gap: yes(attributes.get('GAP')),
      ...(byteRange === undefined ? {} : { byteRange }),
    });
    this.#openPartCount++;
    this.#openPartsS += durationS;
    if (this.#edgeUtcMs !== undefined) this.#edgeUtcMs += durationS * 1_000;
  }

  #byteRange(
    text: string | undefined,
    partUri: string,
    line: number,
  ): { offset: number; length: number } | undefined {
    if (text === undefined) return undefined;
    const match = /^(\d{1,15})(?:@(\d{1,15}))?$/.exec(text);
    if (match === null) throw invalid(line, 'BYTERANGE: expected n or n@o');
    const previousEnd = this.#previousRange?.uri === partUri ? this.#previousRange.end : 0;
    const offset = match[2] === undefined ? previousEnd : Number(match[2]);
    const length = Number(match[1]);
    this.#previousRange = { uri: partUri, end: offset + length };
    return { offset, length };
  }

  #segment(segmentUri: string, line: number): void {
    const durationS = this.#openDurationS;
    if (durationS === undefined) throw invalid(line, 'a segment URI without EXTINF before it');
    this.#segments.push({
      msn: this.#openMsn,
      durationS,
      uri: segmentUri,
      gap: this.#openGap,
      discontinuity: this.#openDiscontinuity,
    });
    // The parts of this segment have moved the edge already; the segment itself may be longer or have had none.
    if (this.#edgeUtcMs !== undefined) this.#edgeUtcMs += (durationS - this.#openPartsS) * 1_000;
    this.#openDurationS = undefined;
    this.#openPartsS = 0;
    this.#openPartCount = 0;
    this.#openGap = false;
    this.#openDiscontinuity = false;
  }

  #report(attributes: ReadonlyMap<string, string>, line: number): void {
    const lastMsn = attributes.get('LAST-MSN');
    const lastPart = attributes.get('LAST-PART');
    this.#reports.push({
      uri: uri(attributes.get('URI'), line, 'URI'),
      ...(lastMsn === undefined ? {} : { lastMsn: wholeNumber(lastMsn, line, 'LAST-MSN') }),
      ...(lastPart === undefined ? {} : { lastPart: wholeNumber(lastPart, line, 'LAST-PART') }),
    });
  }

  finish(): ReadMediaPlaylist {
    if (this.#targetDurationS === undefined)
      throw new PlaylistReadError('playlist_tag_missing', 0, 'EXT-X-TARGETDURATION is missing');
    if (this.#parts.length > 0 && this.#partTargetS === undefined)
      throw new PlaylistReadError('playlist_tag_missing', 0, 'EXT-X-PART without EXT-X-PART-INF');
    const controlSeconds = (name: string): number | undefined =>
      this.#control.has(name) ? seconds(this.#control.get(name), this.#controlLine, name) : undefined;
    const partHoldBackS = controlSeconds('PART-HOLD-BACK');
    const canSkipUntilS = controlSeconds('CAN-SKIP-UNTIL');
    return {
      version: this.#version,
      targetDurationS: this.#targetDurationS,
      ...(this.#partTargetS === undefined ? {} : { partTargetS: this.#partTargetS }),
      ...(partHoldBackS === undefined ? {} : { partHoldBackS }),
      canBlockReload: yes(this.#control.get('CAN-BLOCK-RELOAD')),
      ...(canSkipUntilS === undefined ? {} : { canSkipUntilS }),
      mediaSequence: this.#mediaSequence,
      discontinuitySequence: this.#discontinuitySequence,
      segmentCount: this.#skippedSegments + this.#segments.length,
      skippedSegments: this.#skippedSegments,
      segments: this.#segments,
      parts: this.#parts,
      ...(this.#hint === undefined ? {} : { preloadHint: this.#hint }),
      ...(this.#mapUri === undefined ? {} : { mapUri: this.#mapUri }),
      renditionReports: this.#reports,
      ended: this.#ended,
      ...(this.#edgeUtcMs === undefined ? {} : { liveEdgeUtcMs: this.#edgeUtcMs }),
    };
  }
}

/** @spec rfc8216bis §4.4.4.6: ISO 8601 with a time zone, milliseconds wanted */
function instant(text: string, line: number): number {
  const shape = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)$/;
  const ms = shape.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) throw invalid(line, 'EXT-X-PROGRAM-DATE-TIME: expected an ISO 8601 instant');
  return ms;
}
