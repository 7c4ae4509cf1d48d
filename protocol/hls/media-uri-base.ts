import { parseMediaFile } from '#protocol/hls/media-uris.ts';
import {
  PlaylistReadError,
  readMediaPlaylist,
  type ReadMediaPlaylist,
} from '#protocol/hls/read-media-playlist.ts';

/**
 * A media playlist of an origin that has been checked as a whole: it is what players may get, and its media URIs are file
 * names that can be put below another folder.
 */
export type CheckedMediaPlaylist = {
  readonly text: string;
  readonly read: ReadMediaPlaylist;
};

/** The tags that name media. Ours is the first URI= of a line; nothing before it may look like one. */
const MAP = '#EXT-X-MAP:';
const TAGS_WITH_MEDIA = ['#EXT-X-PART:', '#EXT-X-PRELOAD-HINT:', MAP];
const REPORT = '#EXT-X-RENDITION-REPORT:';
const URI_ATTRIBUTE = 'URI="';
const PEER = /^\.\.\/[a-z0-9_-]{1,32}\/index\.m3u8$/;

/**
 * Checks the text of an origin's media playlist.
 *
 * @throws {PlaylistReadError} when it is too large, cut off, malformed, or names anything but its own files and its peers
 * @spec rfc8216bis §4.4
 */
export function checkMediaPlaylist(text: string): CheckedMediaPlaylist {
  if (!text.endsWith('\n')) throw new PlaylistReadError('playlist_not_m3u8', 0, 'the last line is cut off');
  const read = readMediaPlaylist(text);
  let segmentIsDue = false;
  for (const [index, line] of text.split('\n').entries()) {
    if (line.startsWith('#')) {
      if (line.startsWith('#EXTINF:')) segmentIsDue = true;
      else if (line.startsWith(REPORT)) {
        if (!PEER.test(uriOf(line))) throw foreign(index + 1);
      } else if (namesMedia(line)) {
        if (parseMediaFile(uriOf(line)) === undefined) throw foreign(index + 1);
      } else if (line.includes('URI=')) throw foreign(index + 1);
      continue;
    }
    if (line === '') continue;
    if (parseMediaFile(line) === undefined) throw foreign(index + 1);
    segmentIsDue = false;
  }
  if (segmentIsDue) throw new PlaylistReadError('playlist_tag_missing', 0, 'the last segment has no URI');
  if (!read.ended && read.segmentCount === 0 && read.parts.length === 0)
    throw new PlaylistReadError('playlist_tag_missing', 0, 'it lists nothing');
  return { text, read };
}

/**
 * The playlist with absolute URIs of segments, parts and hinted parts. Rendition reports stay relative: they name the
 * playlists that the player has from where it got this one. Init segments stay, too: some players load them anew with every
 * playlist and give up when they cannot, and where they are then does not change with the media.
 *
 * @param folder absolute URL of the rendition's folder, ending in a slash; without quotes and line ends
 * @spec rfc8216bis §4.4.4, §4.4.5
 */
export function withMediaUriBase({ text }: CheckedMediaPlaylist, folder: string): string {
  const lines = text.split('\n');
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? '';
    if (line === '') continue;
    if (line.charCodeAt(0) !== 35) lines[i] = folder + line;
    else if (namesMedia(line) && !line.startsWith(MAP) && !line.includes('TYPE=MAP')) {
      const at = line.indexOf(URI_ATTRIBUTE) + URI_ATTRIBUTE.length;
      lines[i] = line.slice(0, at) + folder + line.slice(at);
    }
  }
  return lines.join('\n');
}

/** The quoted text after the first `URI=`, when that is the name of an attribute; else ''. */
function uriOf(line: string): string {
  const at = line.indexOf(URI_ATTRIBUTE);
  const before = line[at - 1];
  if (at === -1 || (before !== ':' && before !== ',')) return '';
  const start = at + URI_ATTRIBUTE.length;
  return line.slice(start, line.indexOf('"', start));
}

function namesMedia(line: string): boolean {
  return TAGS_WITH_MEDIA.some((name) => line.startsWith(name));
}

function foreign(line: number): PlaylistReadError {
  return new PlaylistReadError('playlist_tag_invalid', line, 'a URI that is none of an origin’s files');
}
