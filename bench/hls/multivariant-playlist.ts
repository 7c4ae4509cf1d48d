import { decimal, readAttributes, required } from '#bench/hls/attribute-list.ts';

/** One EXT-X-STREAM-INF. */
export type Variant = {
  readonly uri: string;
  readonly bandwidthBps: number;
  readonly averageBandwidthBps: number | undefined;
  readonly codecs: readonly string[];
  readonly width: number | undefined;
  readonly height: number | undefined;
  readonly frameRate: number | undefined;
  readonly audioGroup: string | undefined;
  readonly stableId: string | undefined;
};

/** One EXT-X-MEDIA. */
export type AlternativeRendition = {
  readonly type: string;
  readonly groupId: string;
  readonly name: string;
  readonly uri: string | undefined;
  readonly stableId: string | undefined;
};

/** A multivariant playlist as a client sees it. */
export type MultivariantPlaylist = {
  readonly text: string;
  readonly independentSegments: boolean;
  readonly variants: readonly Variant[];
  readonly renditions: readonly AlternativeRendition[];
};

/**
 * Reads a multivariant playlist.
 *
 * @throws {Error} when a variant has no URI or lacks an attribute that it must have
 * @spec rfc8216bis §4.4.6
 */
export function readMultivariantPlaylist(text: string): MultivariantPlaylist {
  const lines = text.split('\n');
  if (lines[0] !== '#EXTM3U') throw new Error('a playlist begins with #EXTM3U');
  const variants: Variant[] = [];
  const renditions: AlternativeRendition[] = [];
  for (const [index, line] of lines.entries()) {
    if (line.startsWith('#EXT-X-STREAM-INF:')) variants.push(readVariant(line, lines[index + 1] ?? ''));
    if (line.startsWith('#EXT-X-MEDIA:')) renditions.push(readRendition(line));
  }
  return { text, independentSegments: lines.includes('#EXT-X-INDEPENDENT-SEGMENTS'), variants, renditions };
}

/** The URIs of all media playlists, each once, in order of appearance. */
export function mediaPlaylistUris(playlist: MultivariantPlaylist): string[] {
  const uris = [...playlist.variants, ...playlist.renditions].flatMap(({ uri }) =>
    uri === undefined ? [] : [uri],
  );
  return [...new Set(uris)];
}

function readVariant(line: string, uri: string): Variant {
  if (uri === '' || uri.startsWith('#')) throw new Error(`no URI after ${line}`);
  const attributes = readAttributes(line.slice(line.indexOf(':') + 1));
  const resolution = /^(\d+)x(\d+)$/.exec(attributes.get('RESOLUTION') ?? '');
  return {
    uri,
    bandwidthBps: Number(required(attributes, 'BANDWIDTH')),
    averageBandwidthBps: decimal(attributes, 'AVERAGE-BANDWIDTH'),
    codecs: attributes.get('CODECS')?.split(',') ?? [],
    width: resolution === null ? undefined : Number(resolution[1]),
    height: resolution === null ? undefined : Number(resolution[2]),
    frameRate: decimal(attributes, 'FRAME-RATE'),
    audioGroup: attributes.get('AUDIO'),
    stableId: attributes.get('STABLE-VARIANT-ID'),
  };
}

function readRendition(line: string): AlternativeRendition {
  const attributes = readAttributes(line.slice(line.indexOf(':') + 1));
  return {
    type: required(attributes, 'TYPE'),
    groupId: required(attributes, 'GROUP-ID'),
    name: required(attributes, 'NAME'),
    uri: attributes.get('URI'),
    stableId: attributes.get('STABLE-RENDITION-ID'),
  };
}
