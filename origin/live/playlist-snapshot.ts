import { gzipSync } from 'node:zlib';
import { skippedSegmentCount, type PlaylistForm } from '#protocol/hls/delta-update.ts';
import { writeMediaPlaylist, type MediaPlaylist } from '#protocol/hls/media-playlist.ts';
import { skipBoundaryS } from '#protocol/hls/server-control.ts';
import type { PlaylistEdge } from '#origin/live/blocking-reload.ts';
import type { LiveMetrics } from '#origin/live/live-metrics.ts';
import { digestOf } from '#origin/live/live-segment.ts';

/** The text of a playlist as it goes over the wire; written once, compressed once, shared by all answers. */
export class RenderedPlaylist {
  readonly identity: Uint8Array<ArrayBuffer>;
  /** Names the text. Base64url. */
  readonly digest: string;
  readonly #metrics: Pick<LiveMetrics, 'compressions'>;
  #gzip: Uint8Array<ArrayBuffer> | undefined;

  constructor(text: string, metrics: Pick<LiveMetrics, 'compressions'>) {
    this.identity = new TextEncoder().encode(text);
    this.digest = digestOf(this.identity);
    this.#metrics = metrics;
  }

  get gzip(): Uint8Array<ArrayBuffer> {
    if (this.#gzip === undefined) {
      this.#gzip = gzipSync(this.identity);
      this.#metrics.compressions.inc();
    }
    return this.#gzip;
  }
}

/**
 * One version of a rendition's playlist. It never changes: whoever was released by it gets its text, whatever has
 * happened since. The text is written when the first request wants it.
 */
export class PlaylistSnapshot {
  /** Undefined before the first part. */
  readonly edge: PlaylistEdge | undefined;
  /** Whether there is enough in it, and in the stream, to be shown to players. */
  readonly isListable: boolean;
  readonly #playlist: MediaPlaylist;
  readonly #metrics: LiveMetrics;
  readonly #rendered = new Map<PlaylistForm, RenderedPlaylist>();

  constructor(
    playlist: MediaPlaylist,
    state: { edge: PlaylistEdge | undefined; isListable: boolean },
    metrics: LiveMetrics,
  ) {
    this.#playlist = playlist;
    this.edge = state.edge;
    this.isListable = state.isListable;
    this.#metrics = metrics;
  }

  get isEnded(): boolean {
    return this.#playlist.ended;
  }

  get targetDurationS(): number {
    return this.#playlist.constants.targetDurationS;
  }

  /** URIs of the resources that may be asked for before they exist. */
  get hintedUris(): readonly string[] {
    return this.#playlist.ended ? [] : this.#playlist.preloadHints.map(({ uri }) => uri);
  }

  rendered(form: PlaylistForm): RenderedPlaylist {
    // A delta update that leaves nothing out is the whole playlist and shares its text.
    const written = form === 'full' || this.#skipsNothing() ? 'full' : form;
    let rendered = this.#rendered.get(written);
    if (rendered === undefined) {
      rendered = new RenderedPlaylist(writeMediaPlaylist(this.#playlist, written), this.#metrics);
      this.#metrics.renders.inc({ playlist: 'media' });
      this.#rendered.set(written, rendered);
    }
    return rendered;
  }

  #skipsNothing(): boolean {
    const { ended, segments, constants } = this.#playlist;
    return ended || skippedSegmentCount(segments, skipBoundaryS(constants)) === 0;
  }
}
