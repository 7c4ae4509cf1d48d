import type { RenditionDescription } from '#protocol/ingest/publish-session.ts';
import { renditionPlaylistUri } from '#protocol/hls/media-uris.ts';
import type { MultivariantPlaylist } from '#protocol/hls/multivariant-playlist.ts';
import type { LiveRendition } from '#origin/live/live-rendition.ts';

/** What a multivariant playlist says of these renditions, with the bandwidths as they have been measured so far. */
export function offerOf(renditions: readonly LiveRendition[]): MultivariantPlaylist {
  return {
    video: renditions.flatMap((rendition) => {
      const { description } = rendition;
      if (description.kind !== 'video') return [];
      const { width, height, frameRate } = description;
      return {
        ...common(rendition, description),
        width,
        height,
        frameRate: frameRate.numerator / frameRate.denominator,
      };
    }),
    audio: renditions.flatMap((rendition) => {
      const { description } = rendition;
      if (description.kind !== 'audio') return [];
      return { ...common(rendition, description), channels: description.channels };
    }),
  };
}

function common({ bandwidth }: LiveRendition, { id, codecs, bitrateBps }: RenditionDescription) {
  return {
    id,
    codecs,
    uri: renditionPlaylistUri(id),
    nominalBps: bitrateBps,
    bandwidth: bandwidth.declared(bitrateBps),
  };
}
