/**
 * The file names below a rendition's playlist. A name says a segment's or part's number and nothing else, is never used
 * twice for different bytes, and is relative, so that it follows its playlist to every CDN.
 */

/** The multivariant playlist of a stream, and the media playlist of a rendition below it. */
export const MULTIVARIANT_PLAYLIST = 'master.m3u8';
export const MEDIA_PLAYLIST = 'index.m3u8';
/** Beside either of them: as much as can be rewound. Ended streams have a folder each below this one. */
export const DVR_PLAYLIST = 'dvr.m3u8';
export const RECORDINGS_FOLDER = 'recordings';

/** What a file name below a rendition stands for. */
export type MediaFile =
  | { readonly kind: 'segment'; readonly msn: number }
  | { readonly kind: 'part'; readonly msn: number; readonly part: number }
  | { readonly kind: 'init'; readonly timeline: number };

export const segmentUri = (msn: number): string => `${msn}.m4s`;
export const partUri = (msn: number, part: number): string => `${msn}.${part}.m4s`;
export const initUri = (timeline: number): string => `init-${timeline}.mp4`;

/** From one rendition's playlist to another's. */
export const peerPlaylistUri = (renditionId: string): string => `../${renditionId}/${MEDIA_PLAYLIST}`;

/** From the multivariant playlist to a rendition's playlist. */
export const renditionPlaylistUri = (renditionId: string): string => `${renditionId}/${MEDIA_PLAYLIST}`;

const NUMBER = '(0|[1-9]\\d{0,14})';
const SEGMENT = new RegExp(`^${NUMBER}(?:\\.${NUMBER})?\\.m4s$`);
const INIT = new RegExp(`^init-${NUMBER}\\.mp4$`);

/** Reads a file name; `undefined` when it is none of ours. There is one spelling of each name. */
export function parseMediaFile(name: string): MediaFile | undefined {
  const media = SEGMENT.exec(name);
  if (media !== null) {
    const msn = Number(media[1]);
    return media[2] === undefined ? { kind: 'segment', msn } : { kind: 'part', msn, part: Number(media[2]) };
  }
  const init = INIT.exec(name);
  return init === null ? undefined : { kind: 'init', timeline: Number(init[1]) };
}
