import type { MultivariantPlaylist } from '#bench/hls/multivariant-playlist.ts';
import type { PlaylistAnswer } from '#bench/hls/rendition-follower.ts';

/** Why a resource was fetched. */
export type ResourceKind =
  /** A PRELOAD-HINT was followed: the request was sent before the part existed. */
  | 'hint'
  /** The same of TYPE=MAP. */
  | 'map-hint'
  /** The URI stood in a playlist that had just been answered. */
  | 'part'
  | 'segment'
  | 'init'
  /** The URI stood in the playlist before and has just left it. */
  | 'removed';

/** One fetch of an init segment, a part or a segment. Times are epoch milliseconds. */
export type RecordedResource = {
  readonly url: string;
  readonly kind: ResourceKind;
  readonly requestedAtMs: number;
  readonly answeredAtMs: number;
  readonly status: number;
  readonly contentType: string | null;
  readonly contentLength: string | null;
  readonly cacheControl: string | null;
  readonly allowOrigin: string | null;
  readonly body: Uint8Array;
};

/** Everything seen of one media playlist. */
export type RecordedRendition = {
  readonly url: string;
  readonly answers: readonly PlaylistAnswer[];
  readonly resources: readonly RecordedResource[];
};

/** Everything seen of a stream over a time, as the rules judge it. */
export type RecordedRun = {
  readonly url: string;
  /** As it was at the end, with bandwidths measured from the media that is judged. */
  readonly multivariant: MultivariantPlaylist;
  readonly renditions: readonly RecordedRendition[];
};
