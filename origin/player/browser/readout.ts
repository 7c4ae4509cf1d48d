import { element, setText } from './page-elements.ts';
import type { Playback } from './playback.ts';
import { shownLatencyS } from './shown-latency.ts';

/** The figures below the picture. */
export class Readout {
  readonly #latency = element('figure-latency', HTMLElement);
  readonly #picture = element('figure-picture', HTMLElement);
  readonly #bitrate = element('figure-bitrate', HTMLElement);
  readonly #buffer = element('figure-buffer', HTMLElement);
  readonly #dropped = element('figure-dropped', HTMLElement);
  readonly #stalls = element('figure-stalls', HTMLElement);
  readonly #playback: Playback;

  constructor(playback: Playback) {
    this.#playback = playback;
  }

  update(): void {
    const playback = this.#playback;
    const { level, frames } = playback.figures;
    const running = playback.phase === 'playing' || playback.phase === 'paused';
    setText(this.#latency, running ? seconds(shownLatencyS(playback.figures)) : '–');
    setText(
      this.#picture,
      running && level !== undefined ? pictureText(level.width, level.height, level.frameRate) : '–',
    );
    setText(this.#bitrate, running && level !== undefined ? bitrateText(level.bitrateBps) : '–');
    setText(this.#buffer, running ? seconds(Math.max(0, playback.figures.bufferS)) : '–');
    setText(this.#dropped, running ? `${frames.dropped} of ${frames.shown}` : '–');
    setText(this.#stalls, running ? String(playback.stalls.count) : '–');
  }
}

function seconds(value: number | undefined): string {
  if (value === undefined) return '–';
  return `${value.toFixed(value < 100 ? 2 : 0)} s`;
}

function pictureText(width: number, height: number, frameRate: number): string {
  if (width === 0 || height === 0) return 'audio only';
  return frameRate > 0 ? `${width}×${height}p${Math.round(frameRate)}` : `${width}×${height}`;
}

function bitrateText(bitrateBps: number): string {
  return bitrateBps >= 1_000_000
    ? `${(bitrateBps / 1_000_000).toFixed(1)} Mbit/s`
    : `${Math.round(bitrateBps / 1_000)} kbit/s`;
}
