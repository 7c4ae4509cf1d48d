import { element, setText } from './page-elements.ts';
import type { Playback } from './playback.ts';

const VOLUME_STEP = 0.05;
const SEEK_STEP_S = 5;
const IDLE_MS = 3_000;

/** Buttons, quality choice and keys of the player. */
export class Controls {
  readonly #video = element('video', HTMLVideoElement);
  readonly #stage = element('stage', HTMLDivElement);
  readonly #play = element('play', HTMLButtonElement);
  readonly #mute = element('mute', HTMLButtonElement);
  readonly #unmute = element('unmute', HTMLButtonElement);
  readonly #volume = element('volume', HTMLInputElement);
  readonly #live = element('live', HTMLButtonElement);
  readonly #liveLabel = element('live-label', HTMLSpanElement);
  readonly #quality = element('quality', HTMLSelectElement);
  readonly #fullscreen = element('fullscreen', HTMLButtonElement);
  readonly #playback: Playback;
  #soundChosen = false;
  #idleTimer: number | undefined;
  #qualityKey = '';

  constructor(playback: Playback) {
    this.#playback = playback;
    this.#play.addEventListener('click', () => playback.togglePlay());
    this.#mute.addEventListener('click', () => this.#toggleMute());
    this.#unmute.addEventListener('click', () => {
      this.#toggleMute();
      // The button goes away; the keyboard's focus shall not go with it.
      this.#mute.focus();
    });
    this.#volume.addEventListener('input', () => this.#setVolume(Number(this.#volume.value) / 100));
    this.#live.addEventListener('click', () => playback.goLive());
    this.#quality.addEventListener('change', () => playback.setLevel(Number(this.#quality.value)));
    this.#fullscreen.addEventListener('click', () => void this.#toggleFullscreen());
    this.#video.addEventListener('click', () => playback.togglePlay());
    this.#video.addEventListener('dblclick', () => void this.#toggleFullscreen());
    this.#video.addEventListener('volumechange', () => this.update());
    for (const event of ['pointermove', 'pointerdown', 'keydown', 'focusin'] as const)
      this.#stage.addEventListener(event, () => this.#wake());
    document.addEventListener('fullscreenchange', () => this.update());
    document.addEventListener('keydown', (event) => this.#onKey(event));
    this.update();
  }

  /** Shows the state of playback on the controls. */
  update(): void {
    const { phase } = this.#playback;
    const stoppedByViewer = phase === 'paused' || phase === 'blocked';
    const playable = phase !== 'idle' && phase !== 'failed' && phase !== 'recording';
    this.#stage.dataset['phase'] = phase;
    this.#stage.toggleAttribute('data-paused', stoppedByViewer || phase === 'ended' || !playable);
    this.#stage.toggleAttribute('data-muted', this.#video.muted);
    label(this.#play, stoppedByViewer || !playable ? 'Play' : 'Pause', 'Space');
    this.#play.disabled = !playable;
    label(this.#mute, this.#video.muted ? 'Turn the sound on' : 'Turn the sound off', 'M');
    this.#mute.setAttribute('aria-pressed', String(this.#video.muted));
    this.#unmute.hidden = !this.#video.muted || this.#soundChosen || phase !== 'playing';
    this.#volume.value = String(this.#video.muted ? 0 : Math.round(this.#video.volume * 100));
    const fullscreen = document.fullscreenElement === this.#stage;
    label(this.#fullscreen, fullscreen ? 'Leave full screen' : 'Full screen', 'F');
    this.#fullscreen.setAttribute('aria-pressed', String(fullscreen));
    this.#updateLive();
    this.#updateQuality();
  }

  #updateLive(): void {
    const { atLiveEdge } = this.#playback;
    const { latencyS } = this.#playback.figures;
    this.#live.disabled = latencyS === undefined || atLiveEdge;
    this.#live.toggleAttribute('data-at-edge', atLiveEdge);
    const behind = latencyS !== undefined && !atLiveEdge ? `Live −${Math.round(latencyS)} s` : 'Live';
    setText(this.#liveLabel, behind);
    this.#live.setAttribute('aria-label', atLiveEdge ? 'Playing live' : 'Go to the live edge');
  }

  #updateQuality(): void {
    const { levels, level, chosenLevel } = this.#playback.figures;
    const automatic =
      chosenLevel === -1 && level !== undefined ? `Auto ${rungName(level.width, level.height)}` : 'Auto';
    const key = `${levels.map((l) => `${l.width}x${l.height}@${l.bitrateBps}`).join()}|${automatic}|${chosenLevel}`;
    if (key === this.#qualityKey) return;
    this.#qualityKey = key;
    const options = [
      new Option(automatic, '-1', false, chosenLevel === -1),
      ...[...levels]
        .sort((a, b) => b.bitrateBps - a.bitrateBps)
        .map((l) => new Option(rungName(l.width, l.height), String(l.index), false, l.index === chosenLevel)),
    ];
    this.#quality.replaceChildren(...options);
    this.#quality.disabled = levels.length === 0;
  }

  #toggleMute(): void {
    this.#soundChosen = true;
    this.#video.muted = !this.#video.muted;
    if (!this.#video.muted && this.#video.volume === 0) this.#video.volume = 0.5;
    if (!this.#video.muted && this.#video.paused) this.#playback.play();
  }

  #setVolume(volume: number): void {
    this.#soundChosen = true;
    this.#video.volume = Math.min(1, Math.max(0, volume));
    this.#video.muted = this.#video.volume === 0;
  }

  async #toggleFullscreen(): Promise<void> {
    try {
      if (document.fullscreenElement !== null) await document.exitFullscreen();
      else if (this.#stage.requestFullscreen !== undefined) await this.#stage.requestFullscreen();
      else (this.#video as { webkitEnterFullscreen?: () => void }).webkitEnterFullscreen?.();
    } catch (error) {
      // The browser may refuse (an embedding page does not allow it); playback goes on as it was.
      console.warn('full screen:', error);
    }
    this.#wake();
  }

  #wake(): void {
    this.#stage.removeAttribute('data-idle');
    window.clearTimeout(this.#idleTimer);
    this.#idleTimer = window.setTimeout(() => this.#stage.setAttribute('data-idle', ''), IDLE_MS);
  }

  #onKey(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const act = this.#keyAction(event);
    if (act === undefined) return;
    event.preventDefault();
    this.#wake();
    act();
  }

  /** Keys that a focused control needs for itself stay with it. */
  #keyAction(event: KeyboardEvent): (() => void) | undefined {
    const { target } = event;
    const inForm = target instanceof HTMLSelectElement || target instanceof HTMLInputElement;
    const pressable =
      inForm ||
      target instanceof HTMLButtonElement ||
      target instanceof HTMLAnchorElement ||
      (target instanceof HTMLElement && target.tagName === 'SUMMARY');
    switch (event.key) {
      case ' ':
        return pressable ? undefined : () => this.#playback.togglePlay();
      case 'k':
      case 'K':
        return target instanceof HTMLSelectElement ? undefined : () => this.#playback.togglePlay();
      case 'm':
      case 'M':
        return () => this.#toggleMute();
      case 'f':
      case 'F':
        return target instanceof HTMLSelectElement ? undefined : () => void this.#toggleFullscreen();
      case 'l':
      case 'L':
        return target instanceof HTMLSelectElement ? undefined : () => this.#playback.goLive();
      case 'ArrowUp':
        return inForm ? undefined : () => this.#setVolume(this.#audibleVolume() + VOLUME_STEP);
      case 'ArrowDown':
        return inForm ? undefined : () => this.#setVolume(this.#audibleVolume() - VOLUME_STEP);
      case 'ArrowLeft':
        return inForm ? undefined : () => this.#playback.seekBy(-SEEK_STEP_S);
      case 'ArrowRight':
        return inForm ? undefined : () => this.#playback.seekBy(SEEK_STEP_S);
      default:
        return undefined;
    }
  }

  #audibleVolume(): number {
    return this.#video.muted ? 0 : this.#video.volume;
  }
}

/** `720p` for a rung: the shorter side, as ladders are named. */
export function rungName(width: number, height: number): string {
  return width > 0 && height > 0 ? `${Math.min(width, height)}p` : 'Audio only';
}

function label(button: HTMLButtonElement, text: string, key: string): void {
  if (button.getAttribute('aria-label') === text) return;
  button.setAttribute('aria-label', text);
  button.title = `${text} (${key})`;
}
