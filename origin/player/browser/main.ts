import { Controls } from './controls.ts';
import { element, setText } from './page-elements.ts';
import type { LiveEdgeMode } from './hls-settings.ts';
import { PathwayPanel } from './pathway-panel.ts';
import { Playback } from './playback.ts';
import { publishState } from './public-state.ts';
import { Readout } from './readout.ts';
import { StreamDirectory } from './stream-directory.ts';
import { StreamList, stateText } from './stream-list.ts';
import { WatchedStream } from './watched-stream.ts';

const REFRESH_MS = 250;

function start(): void {
  const video = element('video', HTMLVideoElement);
  // Attributes alone do not mute in every browser, and only a muted video may start by itself.
  video.muted = true;
  const query = new URLSearchParams(location.search);
  const mode: LiveEdgeMode = query.get('live-edge') === 'hls.js' ? 'hls.js' : 'own';
  const playback = new Playback(video, mode, () => watched.onPlaybackChange());
  const directory = new StreamDirectory(() => watched.onDirectoryChange());
  const watched: WatchedStream = new WatchedStream(playback, directory, render);
  const controls = new Controls(playback);
  const readout = new Readout(playback);
  const pathways = new PathwayPanel(playback.pathways);
  const list = new StreamList((id) => choose(id));
  const connection = element('connection', HTMLParagraphElement);
  const heading = element('stream-name', HTMLHeadingElement);
  const state = element('stream-state', HTMLParagraphElement);

  function render(): void {
    const { id } = watched;
    const stream = id === undefined ? undefined : directory.find(id);
    list.update(directory.streams, id, directory.reachable);
    controls.update();
    readout.update();
    pathways.update();
    const name = stream?.name ?? id ?? 'Live';
    setText(heading, name);
    setText(state, id === undefined ? '' : stateText(stream?.state));
    state.dataset['state'] = stream?.state ?? 'offline';
    setText(connection, directory.reachable === false ? 'Server not reachable, trying again…' : '');
    const title = id === undefined ? 'Live' : `${name} · Live`;
    if (document.title !== title) document.title = title;
  }

  function choose(id: string): void {
    if (id !== watched.id) history.pushState(null, '', `/watch/${encodeURIComponent(id)}${location.search}`);
    watched.choose(id);
  }

  publishState(playback, { streamId: () => watched.id, message: () => watched.message });
  window.addEventListener('popstate', () => watched.choose(linkedStream()));
  window.addEventListener('online', () => void directory.refresh());
  window.addEventListener('offline', render);
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) void directory.refresh();
  });
  watched.choose(linkedStream());
  void directory.refresh();
  window.setInterval(() => watched.onTime(), REFRESH_MS);
}

/** The stream that the address names: `/watch/{id}` or `?stream={id}`. */
function linkedStream(): string | undefined {
  const [, fromPath] = /^\/watch\/([A-Za-z0-9_-]{1,64})$/.exec(location.pathname) ?? [];
  const fromQuery = new URLSearchParams(location.search).get('stream') ?? undefined;
  const id = fromPath ?? fromQuery;
  return id !== undefined && /^[A-Za-z0-9_-]{1,64}$/.test(id) ? id : undefined;
}

start();
