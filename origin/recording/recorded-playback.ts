import type { PlaylistForm } from '#protocol/hls/delta-update.ts';
import { DVR_PLAYLIST, MEDIA_PLAYLIST, RECORDINGS_FOLDER } from '#protocol/hls/media-uris.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Client } from '#origin/live/held-requests.ts';
import type { MediaAnswer, PlaylistAnswer } from '#origin/live/live-playback.ts';
import { RenderedPlaylist } from '#origin/live/playlist-snapshot.ts';
import {
  writeDvrPlaylist,
  writeRecordedMultivariant,
  writeVodPlaylist,
} from '#origin/recording/recorded-playlists.ts';
import type { Recorder } from '#origin/recording/recorder.ts';
import { recordingKey } from '#origin/recording/recording-place.ts';
import type { RecordingState } from '#origin/recording/recording-state.ts';
import type { RecordingRow } from '#origin/recording/recordings-table.ts';
import { pageOf, type SegmentEntry } from '#origin/recording/segment-entry.ts';

/** Texts of playlists that are kept for the next one who asks. */
const RENDERED_MAX = 512;
/** A multivariant playlist measures the newest pages only. */
const PAGES_MEASURED = 10;

/** A playlist that can be rewound, and the newest segment in it; none in a multivariant playlist. */
export type DvrAnswer = PlaylistAnswer & { readonly newestMsn: number | undefined };

type Rendered = { readonly version: string; readonly rendered: RenderedPlaylist };

/**
 * The playlists of what is recorded: `dvr.m3u8` of a stream that goes on, the playlists of one that has ended, at its own
 * URLs and below `recordings/{id}/`. Media have one URL each, whatever playlist names it.
 */
export class RecordedPlayback {
  readonly #recorder: Recorder;
  /** The one used longest ago comes first. */
  readonly #rendered = new Map<string, Rendered>();

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
  }

  /**
   * What can be rewound of a stream, or, when it has ended, its newest recording.
   *
   * @param renditionId undefined asks for the multivariant playlist
   * @throws {ProblemError} 404 `dvr_off`, `stream_offline`, `rendition_not_found`; 503
   */
  async dvr(streamId: string, renditionId: string | undefined, form: PlaylistForm): Promise<DvrAnswer> {
    const here = this.#recorder.running(streamId);
    if (here?.state !== undefined) {
      const { state, wish, ref } = here;
      const entriesOf = (id: string): SegmentEntry[] => here.renditions.get(id)?.index.entries ?? [];
      const isEnded = here.endedAtMs !== undefined;
      return this.#dvrOf(recordingKey(ref), state, wish.dvrWindowMs, isEnded, renditionId, form, (id) =>
        Promise.resolve(entriesOf(id)),
      );
    }
    const newest = (await this.#recorder.catalog.list(streamId))[0];
    if (newest === undefined) throw offline();
    if (newest.endedAtMs !== null)
      return { ...(await this.#vodOf(newest, renditionId, DVR_PLAYLIST, '')), newestMsn: undefined };
    const { state, wish, ref } = newest;
    const segments = (2 * wish.dvrWindowMs) / (state.constants.targetDurationS * 1000);
    return this.#dvrOf(recordingKey(ref), state, wish.dvrWindowMs, false, renditionId, form, (id) =>
      this.#recorder.catalog.newest(ref, id, pageOf(segments) + 1),
    );
  }

  /**
   * The newest recording of a stream that is not live, at the stream's own URLs.
   *
   * @throws {ProblemError} 404 `stream_offline`, `rendition_not_found`; 503
   */
  async newest(streamId: string, renditionId: string | undefined): Promise<PlaylistAnswer> {
    const row = (await this.#ended(streamId))[0];
    if (row === undefined) throw offline();
    return this.#vodOf(row, renditionId, MEDIA_PLAYLIST, '');
  }

  /**
   * A certain recording: `{id}/master.m3u8` or `{id}/{rendition}/index.m3u8`.
   *
   * @param path what follows `/live/{stream}/recordings/`
   * @throws {ProblemError} 404 `recording_not_found`, `rendition_not_found`, `file_not_found`; 503
   */
  async recording(streamId: string, path: string): Promise<PlaylistAnswer> {
    const match = /^(\d{1,15})\/(?:master\.m3u8|([a-z0-9_-]{1,32})\/index\.m3u8)$/.exec(path);
    if (match === null)
      throw new ProblemError(404, 'file_not_found', 'No file of a recording has such a name.');
    const row = (await this.#ended(streamId)).find(({ ref }) => ref.id === Number(match[1]));
    if (row === undefined)
      throw new ProblemError(404, 'recording_not_found', 'There is no such recording, or not any more.', {
        headers: { 'cache-control': 'public, max-age=1' },
      });
    const up = '../'.repeat(3);
    return this.#vodOf(row, match[2], MEDIA_PLAYLIST, match[2] === undefined ? '' : `${up}${match[2]}/`);
  }

  /** @throws {ProblemError} 404, 503 */
  async segment(streamId: string, renditionId: string, msn: number, client: Client): Promise<MediaAnswer> {
    const found = await this.#recorder.segment(streamId, renditionId, msn, client);
    if (found !== undefined) return found;
    throw new ProblemError(404, 'segment_not_found', `Segment ${msn} is not here.`);
  }

  /** @throws {ProblemError} 404, 503 */
  async init(streamId: string, renditionId: string, timeline: number, client: Client): Promise<MediaAnswer> {
    const found = await this.#recorder.init(streamId, renditionId, timeline, client);
    if (found !== undefined) return found;
    throw new ProblemError(404, 'init_not_found', `There is no init segment ${timeline}.`);
  }

  async #ended(streamId: string): Promise<RecordingRow[]> {
    const rows = await this.#recorder.catalog.list(streamId);
    return rows.filter(({ endedAtMs, wish }) => endedAtMs !== null && wish.retentionMs > 0);
  }

  async #dvrOf(
    key: string,
    state: RecordingState,
    dvrWindowMs: number,
    isEnded: boolean,
    renditionId: string | undefined,
    form: PlaylistForm,
    entriesOf: (renditionId: string) => Promise<readonly SegmentEntry[]>,
  ): Promise<DvrAnswer> {
    if (dvrWindowMs === 0)
      throw new ProblemError(404, 'dvr_off', 'This stream cannot be rewound.', {
        headers: { 'cache-control': 'public, max-age=5' },
      });
    if (renditionId === undefined)
      return {
        ...(await this.#multivariant(
          `${key} dvr`,
          state,
          entriesOf,
          (id) => `${id}/${DVR_PLAYLIST}`,
          isEnded,
        )),
        newestMsn: undefined,
      };
    assertRendition(state, renditionId);
    const entries = await entriesOf(renditionId);
    if (entries.length === 0) throw notYet();
    const version = `${entries.at(-1)?.msn} ${isEnded}`;
    const rendered = this.#render(`${key} dvr ${renditionId} ${form}`, version, () =>
      writeDvrPlaylist(state, entries, dvrWindowMs, isEnded, form),
    );
    const newestMsn = isEnded ? undefined : entries.at(-1)?.msn;
    return { ...answer(rendered, state, isEnded), newestMsn };
  }

  async #vodOf(
    { ref, state }: RecordingRow,
    renditionId: string | undefined,
    file: string,
    mediaBase: string,
  ): Promise<PlaylistAnswer> {
    const key = `${recordingKey(ref)} vod`;
    const { catalog } = this.#recorder;
    if (renditionId === undefined) {
      const newest = (id: string): Promise<SegmentEntry[]> => catalog.newest(ref, id, PAGES_MEASURED);
      return this.#multivariant(`${key} ${file}`, state, newest, (id) => `${id}/${file}`, true);
    }
    assertRendition(state, renditionId);
    const entries = await catalog.entries(ref, renditionId);
    if (!entries.some(({ bytes }) => bytes > 0)) throw offline();
    const rendered = this.#render(`${key} ${renditionId} ${mediaBase}`, `${entries[0]?.msn}`, () =>
      writeVodPlaylist(state, entries, mediaBase),
    );
    return answer(rendered, state, true);
  }

  async #multivariant(
    key: string,
    state: RecordingState,
    entriesOf: (renditionId: string) => Promise<readonly SegmentEntry[]>,
    uriOf: (renditionId: string) => string,
    isEnded: boolean,
  ): Promise<PlaylistAnswer> {
    const byId = new Map<string, readonly SegmentEntry[]>();
    for (const { description } of state.renditions) byId.set(description.id, await entriesOf(description.id));
    const newest = Math.max(0, ...Array.from(byId.values(), (entries) => entries.at(-1)?.msn ?? 0));
    if (newest === 0) throw notYet();
    // Bandwidths need not follow every segment.
    const version = isEnded ? `${newest}` : `${pageOf(newest)} ${state.timeline.firstMsn}`;
    const rendered = this.#render(key, version, () =>
      writeRecordedMultivariant(state, (id) => byId.get(id) ?? [], uriOf),
    );
    return answer(rendered, state, isEnded);
  }

  #render(key: string, version: string, write: () => string): RenderedPlaylist {
    const known = this.#rendered.get(key);
    this.#rendered.delete(key);
    const rendered =
      known?.version === version ? known.rendered : new RenderedPlaylist(write(), this.#recorder.metrics);
    this.#rendered.set(key, { version, rendered });
    for (const oldest of this.#rendered.keys()) {
      if (this.#rendered.size <= RENDERED_MAX) break;
      this.#rendered.delete(oldest);
    }
    return rendered;
  }
}

/** Where a recording is played, below the stream's URL. */
export const recordingUri = (id: number): string => `${RECORDINGS_FOLDER}/${id}/master.m3u8`;

function answer(rendered: RenderedPlaylist, state: RecordingState, isEnded: boolean): PlaylistAnswer {
  const { targetDurationS } = state.constants;
  return { rendered, freshness: isEnded ? 'ended' : 'plain', targetDurationS };
}

function assertRendition(state: RecordingState, renditionId: string): void {
  if (state.renditions.some(({ description }) => description.id === renditionId)) return;
  throw new ProblemError(404, 'rendition_not_found', 'The stream has no such rendition.', {
    headers: { 'cache-control': 'public, max-age=1' },
  });
}

function offline(): ProblemError {
  return new ProblemError(
    404,
    'stream_offline',
    'Nobody publishes this stream now, and nothing of it is kept.',
    {
      headers: { 'cache-control': 'public, max-age=1' },
    },
  );
}

function notYet(): ProblemError {
  return new ProblemError(404, 'stream_offline', 'The stream has no complete segment yet.', {
    headers: { 'cache-control': 'public, max-age=1' },
  });
}
