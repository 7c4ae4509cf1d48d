import { StreamApi, type CreatedStream } from '#bench/system/stream-api.ts';
import { startSystem, type SystemProcess, type SystemSettings } from '#bench/system/system-process.ts';
import { readMediaPlaylist, type MediaPlaylist } from '#bench/hls/media-playlist.ts';
import { mediaPlaylistUris, readMultivariantPlaylist } from '#bench/hls/multivariant-playlist.ts';
import { startPublisher, type Publisher, type PublisherOptions } from '#tests/support/ffmpeg-publisher.ts';
import { waitFor } from '#tests/support/wait-for.ts';

/** The whole system for a test, started as `npm start` does, with everything that the test has put on it. */
export type LiveSystem = {
  readonly process: SystemProcess;
  readonly api: StreamApi;
  /** Starts an ffmpeg that publishes the stream; ended with the system at the latest. */
  publish(stream: CreatedStream, options?: Omit<PublisherOptions, 'rtmpUrl'>): Promise<Publisher>;
  /**
   * Publishes the stream and waits until it can be played.
   *
   * @throws with what publisher and system have said, when it does not come up within 20 s
   */
  goLive(stream: CreatedStream, options?: Omit<PublisherOptions, 'rtmpUrl'>): Promise<LiveStream>;
  /** Ends the publishers and the system. @throws when anything of it is left */
  close(): Promise<void>;
};

/** A stream that is on the air. */
export type LiveStream = {
  readonly publisher: Publisher;
  /** URLs of the media playlists, video first. */
  readonly playlists: readonly string[];
};

const OUTPUT_SHOWN_MAX = 8_000;

/** Starts the system on free ports with a new data folder. */
export async function startLiveSystem(settings: SystemSettings = {}): Promise<LiveSystem> {
  const system = await startSystem(settings);
  const publishers: Publisher[] = [];
  const publish: LiveSystem['publish'] = async (stream, options = {}) => {
    const publisher = await startPublisher({
      ...options,
      rtmpUrl: `${system.rtmpUrl}/${stream.streamKey}`,
    });
    publishers.push(publisher);
    return publisher;
  };
  return {
    process: system,
    api: new StreamApi(system.originUrl, system.adminToken),
    publish,
    async goLive(stream, options) {
      const publisher = await publish(stream, options);
      try {
        return { publisher, playlists: await waitForLive(stream) };
      } catch (error) {
        const said = `publisher:\n${publisher.stderr()}\nsystem:\n${system.output().slice(-OUTPUT_SHOWN_MAX)}`;
        throw new Error(`${(error as Error).message}\n${said}`, { cause: error });
      }
    },
    async close() {
      await Promise.all(publishers.map((publisher) => publisher.kill()));
      await system.stop();
    },
  };
}

/** Waits until the stream can be played and returns the URLs of its media playlists, video first. */
export async function waitForLive(stream: CreatedStream, deadlineMs = 20_000): Promise<string[]> {
  return waitFor(
    `stream ${stream.id} to be live`,
    async () => {
      const response = await fetch(stream.playlistUrl);
      const text = await response.text();
      if (response.status !== 200) return undefined;
      return mediaPlaylistUris(readMultivariantPlaylist(text)).map(
        (uri) => new URL(uri, stream.playlistUrl).href,
      );
    },
    { deadlineMs, intervalMs: 100 },
  );
}

/** The media playlist as it is now. @throws when the answer is not 200 */
export async function getMediaPlaylist(url: string): Promise<MediaPlaylist> {
  const response = await fetch(url);
  if (response.status !== 200) throw new Error(`${url} was answered ${response.status}`);
  return readMediaPlaylist(await response.text());
}

/** Waits until a media playlist is as `probe` wants it; returns it. */
export function waitForPlaylist(
  name: string,
  url: string,
  probe: (playlist: MediaPlaylist) => boolean,
  deadlineMs = 15_000,
): Promise<MediaPlaylist> {
  return waitFor(
    name,
    async () => {
      const playlist = await getMediaPlaylist(url);
      return probe(playlist) ? playlist : undefined;
    },
    { deadlineMs, intervalMs: 100 },
  );
}
