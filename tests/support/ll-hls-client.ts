import { listedParts } from '#bench/hls/live-edge.ts';
import type { MediaPlaylist } from '#bench/hls/media-playlist.ts';
import {
  mediaPlaylistUris,
  readMultivariantPlaylist,
  type MultivariantPlaylist,
} from '#bench/hls/multivariant-playlist.ts';
import { epochMs, followRendition, type PlaylistAnswer } from '#bench/hls/rendition-follower.ts';
import type {
  RecordedRendition,
  RecordedResource,
  RecordedRun,
  ResourceKind,
} from '#tests/support/recorded-run.ts';
import { within } from '#tests/support/wait-for.ts';

/** Held requests must be answered within 3 × target duration; no segment of ours is longer than 6 s. */
const FINISH_DEADLINE_MS = 25_000;

/** A stream that is being recorded. */
export type RunRecording = {
  /** What has been seen so far; grows. */
  readonly renditions: readonly RecordedRendition[];
  /** Resolves when every playlist has ended by itself (EXT-X-ENDLIST or an answer other than 200). */
  readonly ended: Promise<void>;
  /** Stops following, lets open fetches finish, and returns everything. */
  stop(): Promise<RecordedRun>;
};

/**
 * Follows all renditions of a stream at once with blocking reloads and fetches everything that their playlists name, at
 * the moment they name it: parts, segments, init segments, hinted parts before they exist, and URIs that have just left.
 */
export async function recordStream(masterUrl: string): Promise<RunRecording> {
  const multivariant = await fetchMultivariant(masterUrl);
  const abort = new AbortController();
  const recorders = mediaPlaylistUris(multivariant).map(
    (uri) => new RenditionRecorder(new URL(uri, masterUrl).href, abort.signal),
  );
  const followed = Promise.all(recorders.map((recorder) => recorder.follow()));
  followed.catch(() => undefined);
  return {
    renditions: recorders,
    ended: followed.then(() => undefined),
    async stop() {
      abort.abort();
      await followed;
      await within(
        'the last fetches',
        FINISH_DEADLINE_MS,
        Promise.all(recorders.map((recorder) => recorder.finish())),
      );
      return { url: masterUrl, multivariant: await fetchMultivariant(masterUrl), renditions: recorders };
    },
  };
}

/** Fetches a multivariant playlist. @throws when the answer is not 200 or not a playlist */
export async function fetchMultivariant(masterUrl: string): Promise<MultivariantPlaylist> {
  const response = await fetch(masterUrl);
  if (response.status !== 200) throw new Error(`${masterUrl} was answered ${response.status}`);
  return readMultivariantPlaylist(await response.text());
}

class RenditionRecorder implements RecordedRendition {
  readonly url: string;
  readonly answers: PlaylistAnswer[] = [];
  readonly resources: RecordedResource[] = [];
  readonly #signal: AbortSignal;
  readonly #asked = new Set<string>();
  readonly #pending = new Set<Promise<void>>();
  #failure: Error | undefined;
  #previous: MediaPlaylist | undefined;

  constructor(url: string, signal: AbortSignal) {
    this.url = url;
    this.#signal = signal;
  }

  async follow(): Promise<void> {
    for await (const answer of followRendition(this.url, this.#signal)) {
      this.answers.push(answer);
      if (answer.playlist !== undefined) this.#take(answer.playlist);
    }
  }

  async finish(): Promise<void> {
    await Promise.all(this.#pending);
    if (this.#failure !== undefined) throw this.#failure;
  }

  #take(playlist: MediaPlaylist): void {
    for (const segment of playlist.segments) {
      if (segment.mapUri !== undefined) this.#fetch('init', segment.mapUri);
      if (segment.uri !== undefined && !segment.gap) this.#fetch('segment', segment.uri);
      for (const part of segment.parts) if (!part.gap) this.#fetch('part', part.uri);
    }
    for (const { type, uri } of playlist.preloadHints) this.#fetch(type === 'MAP' ? 'map-hint' : 'hint', uri);
    const now = new Set(mediaUris(playlist));
    for (const uri of this.#previous === undefined ? [] : mediaUris(this.#previous))
      if (!now.has(uri)) this.#fetch('removed', uri);
    this.#previous = playlist;
  }

  #fetch(kind: ResourceKind, uri: string): void {
    const url = new URL(uri, this.url).href;
    const key = `${kind} ${url}`;
    if (this.#asked.has(key)) return;
    this.#asked.add(key);
    const pending = this.#request(kind, url)
      .catch((error: unknown) => {
        // A hint that is still held when the recording stops is given up; every other failure is a finding.
        if (!isHint(kind) || !this.#signal.aborted) this.#failure ??= error as Error;
      })
      .finally(() => this.#pending.delete(pending));
    this.#pending.add(pending);
  }

  async #request(kind: ResourceKind, url: string): Promise<void> {
    const requestedAtMs = epochMs();
    const response = await fetch(url, isHint(kind) ? { signal: this.#signal } : {});
    const body = await response.bytes();
    this.resources.push({
      url,
      kind,
      requestedAtMs,
      answeredAtMs: epochMs(),
      status: response.status,
      contentType: response.headers.get('content-type'),
      contentLength: response.headers.get('content-length'),
      cacheControl: response.headers.get('cache-control'),
      allowOrigin: response.headers.get('access-control-allow-origin'),
      body,
    });
  }
}

function isHint(kind: ResourceKind): boolean {
  return kind === 'hint' || kind === 'map-hint';
}

/** URIs of the media that a playlist lists and that exists. */
function mediaUris(playlist: MediaPlaylist): string[] {
  const parts = listedParts(playlist).filter(({ gap }) => !gap);
  const segments = playlist.segments.filter(({ gap }) => !gap);
  return [...parts.map(({ uri }) => uri), ...segments.flatMap(({ uri }) => (uri === undefined ? [] : [uri]))];
}
