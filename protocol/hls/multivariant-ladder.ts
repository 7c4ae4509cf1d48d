import { MEDIA_PLAYLIST } from '#protocol/hls/media-uris.ts';
import { PlaylistReadError, readAttributeList, splitPlaylist } from '#protocol/hls/read-media-playlist.ts';

/** More than this is refused, never cut off silently. */
export const LADDER_ENTRIES_MAX = 64;

/** One EXT-X-MEDIA or EXT-X-STREAM-INF, checked attribute by attribute. */
export type LadderEntry = {
  /** Attributes in the order of the text, values as they go into a playlist, without those that name group or URI. */
  readonly attributes: string;
  /** GROUP-ID of a rendition; AUDIO of a variant that has a group. */
  readonly audioGroup: string | undefined;
  /** Id of the rendition whose media playlist it is. */
  readonly renditionId: string;
};

/** What a multivariant playlist of one origin offers, to be written again for other places. @spec rfc8216bis §4.4.6 */
export type MultivariantLadder = {
  readonly version: number;
  readonly independentSegments: boolean;
  readonly audio: readonly LadderEntry[];
  readonly variants: readonly LadderEntry[];
};

const NUMBER = /^\d{1,12}$/;
const STABLE_ID = /^[A-Za-z0-9+/=._-]{1,128}$/;
const GROUP = /^[A-Za-z0-9._-]{1,64}$/;
const YES_OR_NO = /^(?:YES|NO)$/;
const RENDITION_URI = new RegExp(`^([a-z0-9_-]{1,32})/${MEDIA_PLAYLIST.replace('.', '\\.')}$`);

/** What an attribute may say, and whether it is a quoted string. Others are left out. */
type Shape = { readonly pattern: RegExp; readonly quoted: boolean };
const VARIANT: Readonly<Record<string, Shape>> = {
  BANDWIDTH: { pattern: NUMBER, quoted: false },
  'AVERAGE-BANDWIDTH': { pattern: NUMBER, quoted: false },
  SCORE: { pattern: /^\d{1,6}(?:\.\d{1,6})?$/, quoted: false },
  CODECS: { pattern: /^[A-Za-z0-9.,_-]{1,256}$/, quoted: true },
  RESOLUTION: { pattern: /^\d{1,5}x\d{1,5}$/, quoted: false },
  'FRAME-RATE': { pattern: /^\d{1,3}(?:\.\d{1,3})?$/, quoted: false },
  'VIDEO-RANGE': { pattern: /^(?:SDR|HLG|PQ)$/, quoted: false },
  'STABLE-VARIANT-ID': { pattern: STABLE_ID, quoted: true },
  'CLOSED-CAPTIONS': { pattern: /^NONE$/, quoted: false },
};
const RENDITION: Readonly<Record<string, Shape>> = {
  TYPE: { pattern: /^AUDIO$/, quoted: false },
  // An apostrophe may stand in a quoted string, but parsers that take it for a quote lose the rest of the tag.
  // oxlint-disable-next-line no-control-regex
  NAME: { pattern: /^[^"'\u0000-\u001f\u007f-\u009f]{1,64}$/, quoted: true },
  LANGUAGE: { pattern: /^[A-Za-z0-9-]{1,35}$/, quoted: true },
  DEFAULT: { pattern: YES_OR_NO, quoted: false },
  AUTOSELECT: { pattern: YES_OR_NO, quoted: false },
  CHANNELS: { pattern: /^[A-Za-z0-9/,-]{1,32}$/, quoted: true },
  'STABLE-RENDITION-ID': { pattern: STABLE_ID, quoted: true },
};

/**
 * Reads the multivariant playlist of an origin: audio renditions and variants with URIs `{rendition}/index.m3u8`. Attributes
 * that are not known here are left out, and so are unknown tags; what is known has to be right, for it goes into other
 * playlists. STABLE ids that are missing are taken from the rendition.
 *
 * @throws {PlaylistReadError} when it is too large, cut off, or anything in it is not what an origin writes
 * @spec rfc8216bis §4.4.6
 */
export function readMultivariantLadder(text: string): MultivariantLadder {
  const lines = splitPlaylist(text);
  if (lines.at(-1) !== '')
    throw new PlaylistReadError('playlist_not_m3u8', lines.length, 'the last line is cut off');
  let version = 1;
  let independentSegments = false;
  const audio: LadderEntry[] = [];
  const variants: LadderEntry[] = [];
  let pending: ReadonlyMap<string, string> | undefined;
  for (const [index, line] of lines.entries()) {
    const number = index + 1;
    if (audio.length + variants.length > LADDER_ENTRIES_MAX)
      throw new PlaylistReadError('playlist_too_large', number, `more than ${LADDER_ENTRIES_MAX} entries`);
    if (line === '') continue;
    if (pending !== undefined) {
      variants.push(
        entry(VARIANT, ['BANDWIDTH'], 'STABLE-VARIANT-ID', pending, pending.get('AUDIO'), line, number),
      );
      pending = undefined;
      continue;
    }
    const colon = line.indexOf(':');
    const value = line.slice(colon + 1);
    switch (colon === -1 ? line : line.slice(0, colon)) {
      case '#EXT-X-VERSION':
        version = Number(checked(value, /^\d{1,2}$/, number, 'EXT-X-VERSION'));
        break;
      case '#EXT-X-INDEPENDENT-SEGMENTS':
        independentSegments = true;
        break;
      case '#EXT-X-STREAM-INF':
        pending = readAttributeList(value, number);
        break;
      case '#EXT-X-MEDIA': {
        const attributes = readAttributeList(value, number);
        const group = checked(attributes.get('GROUP-ID'), GROUP, number, 'GROUP-ID');
        const uri = attributes.get('URI') ?? '';
        audio.push(entry(RENDITION, ['TYPE', 'NAME'], 'STABLE-RENDITION-ID', attributes, group, uri, number));
        break;
      }
      case '#EXTINF':
      case '#EXT-X-TARGETDURATION':
        throw new PlaylistReadError('playlist_not_m3u8', number, 'a media playlist, not a multivariant one');
      default:
        if (!line.startsWith('#'))
          throw new PlaylistReadError('playlist_tag_invalid', number, 'a URI that belongs to no variant');
    }
  }
  if (pending !== undefined || variants.length === 0)
    throw new PlaylistReadError(
      'playlist_tag_missing',
      0,
      'a multivariant playlist lists variants with URIs',
    );
  const groups = new Set(audio.map(({ audioGroup }) => audioGroup));
  if (variants.some(({ audioGroup }) => audioGroup !== undefined && !groups.has(audioGroup)))
    throw new PlaylistReadError(
      'playlist_tag_missing',
      0,
      'a variant names an audio group that is not there',
    );
  return { version, independentSegments, audio, variants };
}

function entry(
  shapes: Readonly<Record<string, Shape>>,
  needed: readonly string[],
  stableId: string,
  attributes: ReadonlyMap<string, string>,
  audioGroup: string | undefined,
  uri: string,
  line: number,
): LadderEntry {
  const renditionId = RENDITION_URI.exec(uri)?.[1];
  if (renditionId === undefined) throw invalid(line, `URI: expected {rendition}/${MEDIA_PLAYLIST}`);
  if (audioGroup !== undefined) checked(audioGroup, GROUP, line, 'AUDIO');
  for (const name of needed) if (!attributes.has(name)) throw invalid(line, `${name} is missing`);
  const pairs: string[] = [];
  for (const [name, shape] of Object.entries(shapes)) {
    const value = attributes.get(name) ?? (name === stableId ? renditionId : undefined);
    if (value === undefined) continue;
    checked(value, shape.pattern, line, name);
    pairs.push(`${name}=${shape.quoted ? `"${value}"` : value}`);
  }
  return { attributes: pairs.join(','), audioGroup, renditionId };
}

function checked(value: string | undefined, pattern: RegExp, line: number, name: string): string {
  if (value === undefined || !pattern.test(value)) throw invalid(line, `${name}: not an acceptable value`);
  return value;
}

function invalid(line: number, message: string): PlaylistReadError {
  return new PlaylistReadError('playlist_tag_invalid', line, message);
}
