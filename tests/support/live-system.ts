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
  /** Ends the publishers and the system. @throws when anything of it is left */
  close(): Promise<void>;
};

/** Starts the system on free ports with a new data folder. */
export async function startLiveSystem(settings: SystemSettings = {}): Promise<LiveSystem> {
  const system = await startSystem(settings);
  const publishers: Publisher[] = [];
  return {
    process: system,
    api: new StreamApi(system.originUrl, system.adminToken),
    async publish(stream, options = {}) {
      const publisher = await startPublisher({
        ...options,
        rtmpUrl: `${system.rtmpUrl}/${stream.streamKey}`,
      });
      publishers.push(publisher);
      return publisher;
    },
    async close() {
      await Promise.all(publishers.map((publisher) => publisher.kill()));
      await system.stop();
    },
  };
}

/** Waits until the stream can be played and returns the URLs of its media playlists, video first. */
export async function waitForLive(stream: CreatedStream, deadlineMs = 15_000): Promise<string[]> {
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
