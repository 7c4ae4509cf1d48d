import {
  PlaylistReadError,
  PLAYLIST_URI_CHARS_MAX,
  readAttributeList,
  splitPlaylist,
} from '#protocol/hls/read-media-playlist.ts';

/** A variant as a multivariant playlist lists it. @spec rfc8216bis §4.4.6.2 */
export type ListedVariant = {
  readonly uri: string;
  readonly bandwidthBps: number;
  readonly pathwayId: string;
};

/** Most variants that are read; a playlist with more is refused. */
export const VARIANTS_MAX = 256;

/**
 * Reads the variants of a multivariant playlist, as far as a probe needs them.
 *
 * @throws {PlaylistReadError} when it is malformed or lists no variant
 */
export function readVariants(text: string): readonly ListedVariant[] {
  const variants: ListedVariant[] = [];
  let pending: Omit<ListedVariant, 'uri'> | undefined;
  for (const [index, line] of splitPlaylist(text).entries()) {
    const number = index + 1;
    if (line.startsWith('#EXT-X-STREAM-INF:')) {
      const attributes = readAttributeList(line.slice('#EXT-X-STREAM-INF:'.length), number);
      const bandwidth = attributes.get('BANDWIDTH');
      if (bandwidth === undefined || !/^\d{1,12}$/.test(bandwidth))
        throw new PlaylistReadError('playlist_tag_invalid', number, 'BANDWIDTH: expected a whole number');
      pending = { bandwidthBps: Number(bandwidth), pathwayId: attributes.get('PATHWAY-ID') ?? '.' };
      continue;
    }
    if (line === '' || line.startsWith('#')) continue;
    if (pending === undefined || line.length > PLAYLIST_URI_CHARS_MAX || variants.length >= VARIANTS_MAX)
      throw new PlaylistReadError('playlist_tag_invalid', number, 'a URI that belongs to no variant');
    variants.push({ ...pending, uri: line });
    pending = undefined;
  }
  if (variants.length === 0)
    throw new PlaylistReadError('playlist_tag_missing', 0, 'the multivariant playlist has no variant');
  return variants;
}
