import { parseDeliveryDirectives, type DeliveryDirectives } from '#protocol/hls/delivery-directives.ts';
import {
  MEDIA_PLAYLIST,
  MULTIVARIANT_PLAYLIST,
  parseMediaFile,
  type MediaFile,
} from '#protocol/hls/media-uris.ts';
import { RENDITION_ID_PATTERN, STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import { PATHWAY_ID_PATTERN } from '#protocol/steering/pathway-id.ts';

/** What of a stream is asked for. */
export type PlaybackTarget =
  | { readonly kind: 'multivariant'; readonly streamId: string }
  | {
      readonly kind: 'playlist';
      readonly streamId: string;
      readonly renditionId: string;
      readonly directives: DeliveryDirectives;
    }
  | {
      readonly kind: 'media';
      readonly streamId: string;
      readonly renditionId: string;
      readonly file: MediaFile;
      readonly name: string;
    };

/** A path below `/live/`, and the CDN flavour that it is for. */
export type PlaybackPath = { readonly target: PlaybackTarget; readonly flavour: string | undefined };

/** The segment of a path that comes before a flavour. Five segments set it apart from a rendition of that name. */
const FLAVOUR = 'via';

/**
 * `/live/{id}/master.m3u8`, `/live/{id}/{rendition}/{file}` and the same below `/live/{id}/via/{cdn}/`, for players whose
 * media come from one CDN. Undefined for anything else.
 *
 * @param query without the question mark
 * @throws {DeliveryDirectiveError}
 */
export function parsePlaybackPath(path: string, query: string): PlaybackPath | undefined {
  const [root, live, streamId = '', ...rest] = path.split('/', 8);
  if (root !== '' || live !== 'live' || !STREAM_ID_PATTERN.test(streamId)) return undefined;
  if (rest.length === 1 && rest[0] === MULTIVARIANT_PLAYLIST)
    return { target: { kind: 'multivariant', streamId }, flavour: undefined };
  let flavour: string | undefined;
  if (rest.length === 4 && rest[0] === FLAVOUR) {
    flavour = rest[1] ?? '';
    if (!PATHWAY_ID_PATTERN.test(flavour)) return undefined;
    rest.splice(0, 2);
  }
  const [renditionId = '', name = ''] = rest;
  if (rest.length !== 2 || !RENDITION_ID_PATTERN.test(renditionId)) return undefined;
  if (name === MEDIA_PLAYLIST) {
    const directives = parseDeliveryDirectives(query);
    return { target: { kind: 'playlist', streamId, renditionId, directives }, flavour };
  }
  const file = parseMediaFile(name);
  if (file === undefined) return undefined;
  return { target: { kind: 'media', streamId, renditionId, file, name }, flavour };
}

/** Folder of a flavour below that of the stream; ends in a slash. */
export function flavourFolder(cdn: string): string {
  return `${FLAVOUR}/${cdn}/`;
}

/**
 * Path and query that name a target, always spelt the same: delivery directives sorted, everything else dropped. It is the
 * cache's key, the key that requests wait under, and what origins are asked for.
 */
export function canonicalPath(target: PlaybackTarget): string {
  const folder = `/live/${target.streamId}/`;
  switch (target.kind) {
    case 'multivariant':
      return folder + MULTIVARIANT_PLAYLIST;
    case 'media':
      return `${folder}${target.renditionId}/${target.name}`;
    case 'playlist': {
      const { block, form } = target.directives;
      const query: string[] = [];
      if (block !== undefined) query.push(`_HLS_msn=${block.msn}`);
      if (block?.part !== undefined) query.push(`_HLS_part=${block.part}`);
      if (form !== 'full') query.push(`_HLS_skip=${form === 'delta' ? 'YES' : 'v2'}`);
      const path = `${folder}${target.renditionId}/${MEDIA_PLAYLIST}`;
      return query.length === 0 ? path : `${path}?${query.join('&')}`;
    }
  }
}
