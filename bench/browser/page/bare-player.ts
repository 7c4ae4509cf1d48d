/** A page with nothing but hls.js and a `<video>`: how the stream plays for somebody who does not use our player. */
import Hls, { type HlsConfig } from 'hls.js';

declare global {
  interface Window {
    hls: Hls;
    hlsEvents: HlsEvent[];
  }
}

/** What a test wants to know of hls.js' life. */
export type HlsEvent = { readonly atMs: number; readonly name: string; readonly detail: string };

const query = new URLSearchParams(location.search);
const config = JSON.parse(query.get('config') ?? '{}') as Partial<HlsConfig>;
const video = document.createElement('video');
// Without a gesture only a muted element may start by itself.
video.muted = true;
video.playsInline = true;
video.style.width = '100%';
document.body.append(video);

const hls = new Hls(config);
window.hls = hls;
window.hlsEvents = [];
const note = (name: string, detail: string): void =>
  void window.hlsEvents.push({ atMs: Date.now(), name, detail });
hls.on(Hls.Events.ERROR, (_, data) =>
  note(data.fatal ? 'fatal' : 'error', `${data.details} ${data.response?.code ?? ''} ${data.error.message}`),
);
hls.on(Hls.Events.LEVEL_SWITCHED, (_, data) => note('level', String(data.level)));
hls.on(Hls.Events.MANIFEST_PARSED, () => void video.play());
hls.loadSource(query.get('src') ?? '');
hls.attachMedia(video);
