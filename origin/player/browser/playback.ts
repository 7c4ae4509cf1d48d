import Hls, { type ErrorData, type HlsConfig, type Level } from 'hls.js';
import { LiveEdgeControl, type LiveEdgeDecision } from '../live-edge-control.ts';
import { initialBandwidthBps, rememberBandwidth } from './bandwidth-memory.ts';
import { LOW_LATENCY_LOAD_POLICIES } from './load-policy.ts';
import { classifyFailure, type PlaybackFailure } from './playback-failure.ts';
import { StallMeter } from './stall-meter.ts';

/**
 * - `idle`: nothing chosen
 * - `loading`: until the first picture
 * - `playing`: playing, or standing still against the viewer's will
 * - `paused`: by the viewer
 * - `blocked`: the browser wants a gesture first
 * - `recording`: the playlist has ended; it can be watched from its start
 * - `ended`: played to the end
 * - `failed`: see {@link Playback.failure}
 */
export type PlaybackPhase =
  'idle' | 'loading' | 'playing' | 'paused' | 'blocked' | 'recording' | 'ended' | 'failed';

/** A rung of the ladder. */
export type PlaybackLevel = {
  readonly index: number;
  readonly width: number;
  readonly height: number;
  readonly frameRate: number;
  readonly bitrateBps: number;
};

/** Who keeps the distance to the live edge: our own control, or hls.js with speeds up to 1.5, to compare with. */
export type LiveEdgeMode = 'own' | 'hls.js';

const TICK_MS = 100;
/** Media kept behind the playhead, for going back. */
const BACK_BUFFER_S = 60;
const AT_EDGE_SLACK_S = 1.5;
const HOLE_WAIT_MS = 300;
const HOLE_MIN_AHEAD_S = 0.15;
/** A standstill this long is an interruption of the broadcast or the network: the live edge is approached anew. */
const INTERRUPTION_MS = 2_500;
const MEDIA_RECOVERY_PAUSE_MS = 10_000;

/** Plays one stream in a video element and measures it. Errors end in phase `failed`; the owner decides when to load again. */
export class Playback {
  readonly #video: HTMLVideoElement;
  readonly #onChange: () => void;
  readonly #mode: LiveEdgeMode;
  readonly #control = new LiveEdgeControl();
  #stalls = new StallMeter();
  #hls: Hls | undefined;
  #phase: PlaybackPhase = 'idle';
  #failure: PlaybackFailure | undefined;
  #following = true;
  #watchRecording = false;
  #decision: LiveEdgeDecision | undefined;
  #loadedMs = 0;
  #startUpMs: number | undefined;
  #firstPictureMs: number | undefined;
  #mediaRecoveredMs = Number.NEGATIVE_INFINITY;
  #interrupted = false;
  #errors = new Map<string, number>();

  constructor(video: HTMLVideoElement, mode: LiveEdgeMode, onChange: () => void) {
    this.#video = video;
    this.#mode = mode;
    this.#onChange = onChange;
    window.setInterval(() => this.#tick(), TICK_MS);
    for (const event of ['waiting', 'playing', 'seeked', 'pause', 'play'] as const)
      video.addEventListener(event, () => this.#tick());
    video.addEventListener('ended', () => this.#become('ended'));
    video.addEventListener('play', () => this.#onPlay());
    video.addEventListener('pause', () => this.#onPause());
  }

  /** Begins to play a multivariant playlist; what was played before ends, its stall count goes on. */
  load(url: string): void {
    this.#teardown();
    this.#failure = undefined;
    this.#following = true;
    this.#control.restart();
    this.#decision = undefined;
    this.#startUpMs = undefined;
    this.#loadedMs = performance.now();
    this.#become('loading');
    this.#watchFirstFrame();
    if (!Hls.isSupported()) {
      this.#loadNatively(url);
      return;
    }
    const hls = new Hls(this.#config());
    this.#hls = hls;
    hls.on(Hls.Events.MANIFEST_PARSED, () => this.#onChange());
    hls.on(Hls.Events.LEVEL_SWITCHED, () => this.#onChange());
    hls.on(Hls.Events.BUFFER_APPENDED, () => this.#tick());
    hls.on(Hls.Events.LEVEL_LOADED, (_event, { details }) => {
      if (!details.live && !this.#watchRecording && this.#phase === 'loading') this.#offerRecording();
    });
    hls.on(Hls.Events.ERROR, (_event, error) => this.#onError(error));
    hls.loadSource(url);
    hls.attachMedia(this.#video);
    this.#start();
  }

  /** Like {@link load}, but plays a playlist that has ended from its start. */
  loadRecording(url: string): void {
    this.#watchRecording = true;
    this.load(url);
    this.#following = false;
  }

  /** Stops and forgets the stream and its counts. */
  unload(): void {
    this.#teardown();
    this.#stalls = new StallMeter();
    this.#errors = new Map();
    this.#watchRecording = false;
    this.#become('idle');
  }

  /** After a gesture of the viewer: goes on playing where it stopped. */
  play(): void {
    this.#start();
  }

  togglePlay(): void {
    if (this.#video.paused) this.#start();
    else this.#video.pause();
  }

  /** Back to the live edge, from wherever the viewer is. */
  goLive(): void {
    const details = this.#hls?.latestLevelDetails;
    if (details?.live !== true) return;
    this.#following = true;
    this.#control.restart();
    this.#stalls.settle(performance.now());
    this.#video.currentTime = details.edge + details.age - holdBackS(details);
    this.#start();
  }

  /** Moves by some seconds within what can be played; away from the edge, the distance stays as the viewer chose it. */
  seekBy(seconds: number): void {
    const { seekable } = this.#video;
    if (seekable.length === 0) return;
    const wanted = this.#video.currentTime + seconds;
    const details = this.#hls?.latestLevelDetails;
    if (details?.live === true && wanted > details.edge + details.age - holdBackS(details)) {
      this.goLive();
      return;
    }
    this.#following = false;
    this.#video.playbackRate = 1;
    this.#stalls.settle(performance.now());
    this.#video.currentTime = Math.max(seekable.start(0), wanted);
  }

  /** Chooses a rung by its index, -1 lets the player choose. What is buffered is played out first. */
  setLevel(index: number): void {
    if (this.#hls === undefined) return;
    this.#hls.loadLevel = index;
    this.#onChange();
  }

  get phase(): PlaybackPhase {
    return this.#phase;
  }

  get failure(): PlaybackFailure | undefined {
    return this.#failure;
  }

  /** For how long the picture has been standing still against the viewer's will, in ms. */
  get stalledMs(): number {
    return this.#stalls.currentMs;
  }

  get stalls(): number {
    return this.#stalls.count;
  }

  get stalledTotalMs(): number {
    return this.#stalls.totalMs;
  }

  /** Seconds from the estimated live edge of the playlist to the picture on screen. */
  get latencyS(): number | undefined {
    const details = this.#hls?.latestLevelDetails;
    if (details?.live !== true || this.#startUpMs === undefined) return undefined;
    return details.edge + details.age - this.#video.currentTime;
  }

  /** Seconds from the picture's PROGRAM-DATE-TIME to this machine's clock; as right as that clock. */
  get wallClockLatencyS(): number | undefined {
    const date = this.#hls?.playingDate;
    return date === undefined || date === null ? undefined : (Date.now() - date.getTime()) / 1_000;
  }

  get targetLatencyS(): number | undefined {
    return this.#mode === 'hls.js' ? (this.#hls?.targetLatency ?? undefined) : this.#decision?.targetLatencyS;
  }

  get playbackRate(): number {
    return this.#video.playbackRate;
  }

  /** Whether the player keeps up with the live edge, rather than play at a distance the viewer chose. */
  get following(): boolean {
    return this.#following;
  }

  get atLiveEdge(): boolean {
    const latencyS = this.latencyS;
    if (latencyS === undefined || !this.#following || this.#video.paused) return false;
    return latencyS < (this.targetLatencyS ?? latencyS) + AT_EDGE_SLACK_S;
  }

  get bufferS(): number {
    return bufferedEndS(this.#video) - this.#video.currentTime;
  }

  get levels(): readonly PlaybackLevel[] {
    return (this.#hls?.levels ?? []).map(describeLevel);
  }

  /** The rung on screen. */
  get level(): PlaybackLevel | undefined {
    const index = this.#hls?.currentLevel ?? -1;
    const level = this.#hls?.levels[index];
    return level === undefined ? undefined : describeLevel(level, index);
  }

  /** Index of the rung the viewer chose, -1 for automatic. */
  get chosenLevel(): number {
    return this.#hls === undefined || this.#hls.autoLevelEnabled ? -1 : this.#hls.manualLevel;
  }

  get bandwidthBps(): number | undefined {
    return this.#hls?.bandwidthEstimate;
  }

  /** PATHWAY-ID that media comes from, when the stream is steered. */
  get pathway(): string | undefined {
    const hls = this.#hls;
    const level = hls?.levels[hls.currentLevel];
    return level?.attrs['PATHWAY-ID'];
  }

  get frames(): { readonly shown: number; readonly dropped: number } {
    const quality = this.#video.getVideoPlaybackQuality();
    return { shown: quality.totalVideoFrames, dropped: quality.droppedVideoFrames };
  }

  /** From {@link load} to the first picture, in ms. */
  get startUpMs(): number | undefined {
    return this.#startUpMs;
  }

  /** From the opening of the page to the very first picture, in ms. */
  get firstPictureMs(): number | undefined {
    return this.#firstPictureMs;
  }

  /** The newest parts are gaps: the broadcaster sends nothing. */
  get broadcastGap(): boolean {
    const details = this.#hls?.latestLevelDetails;
    const newest = details?.partList?.at(-1) ?? details?.fragments.at(-1);
    return newest?.gap === true;
  }

  /** How often each error of hls.js has come, fatal or not, since the stream was chosen. */
  get errorCounts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#errors);
  }

  #config(): Partial<HlsConfig> {
    return {
      ...LOW_LATENCY_LOAD_POLICIES,
      lowLatencyMode: true,
      maxLiveSyncPlaybackRate: this.#mode === 'hls.js' ? 1.5 : 1,
      backBufferLength: BACK_BUFFER_S,
      abrEwmaDefaultEstimate: initialBandwidthBps(),
      startFragPrefetch: true,
      // fMP4 passes through almost unchanged: a worker would cost more than it saves.
      enableWorker: false,
      ...(this.#mode === 'own' ? { liveSyncOnStallIncrease: 0 } : {}),
    };
  }

  #start(): void {
    this.#video.play().then(
      () => undefined,
      (error: unknown) => {
        if (error instanceof DOMException && error.name === 'NotAllowedError') this.#become('blocked');
        // AbortError: another load() came first, which starts playback itself.
      },
    );
  }

  #loadNatively(url: string): void {
    if (this.#video.canPlayType('application/vnd.apple.mpegurl') === '') {
      this.#fail('unsupported');
      return;
    }
    this.#video.src = url;
    this.#video.addEventListener('error', () => this.#fail('media'), { once: true });
    this.#start();
  }

  #offerRecording(): void {
    this.#teardown();
    this.#become('recording');
  }

  #watchFirstFrame(): void {
    const loadedMs = this.#loadedMs;
    this.#video.requestVideoFrameCallback((nowMs) => {
      if (loadedMs !== this.#loadedMs) return;
      this.#startUpMs = nowMs - loadedMs;
      this.#firstPictureMs ??= nowMs;
      this.#stalls.settle(nowMs);
      if (this.#phase === 'loading') this.#become(this.#video.paused ? 'paused' : 'playing');
    });
  }

  #onPlay(): void {
    if (this.#phase === 'paused' || this.#phase === 'blocked')
      this.#become(this.#startUpMs === undefined ? 'loading' : 'playing');
  }

  #onPause(): void {
    if (this.#phase !== 'playing' || this.#video.ended) return;
    this.#following = false;
    this.#video.playbackRate = 1;
    this.#stalls.settle(performance.now());
    this.#become('paused');
  }

  #onError(error: ErrorData): void {
    this.#errors.set(error.details, (this.#errors.get(error.details) ?? 0) + 1);
    if (!error.fatal) return;
    console.warn('playback:', error.type, error.details, error.response?.code ?? '', error.error.message);
    const failure = classifyFailure(error);
    const nowMs = performance.now();
    if (failure === 'media' && nowMs - this.#mediaRecoveredMs > MEDIA_RECOVERY_PAUSE_MS) {
      this.#mediaRecoveredMs = nowMs;
      this.#hls?.recoverMediaError();
      this.#start();
      return;
    }
    this.#fail(failure);
  }

  #fail(failure: PlaybackFailure): void {
    this.#failure = failure;
    this.#teardown();
    this.#become('failed');
  }

  #teardown(): void {
    const hls = this.#hls;
    this.#hls = undefined;
    if (hls !== undefined) {
      rememberBandwidth(hls.bandwidthEstimate);
      hls.destroy();
    }
    this.#video.removeAttribute('src');
    this.#video.playbackRate = 1;
    this.#stalls.settle(performance.now());
  }

  #become(phase: PlaybackPhase): void {
    if (this.#phase === phase) return;
    this.#phase = phase;
    this.#onChange();
  }

  #tick(): void {
    const hls = this.#hls;
    const video = this.#video;
    if (hls === undefined || this.#startUpMs === undefined) return;
    const nowMs = performance.now();
    const wanted = this.#phase === 'playing' && !video.paused && !video.seeking && !video.ended;
    const stalled = this.#stalls.observe({
      nowMs,
      wanted,
      ready: video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA,
      currentTimeS: video.currentTime,
    });
    if (stalled && this.#stalls.currentMs > HOLE_WAIT_MS) this.#jumpHole();
    if (this.#stalls.currentMs > INTERRUPTION_MS) this.#interrupted = true;
    if (this.#interrupted && !stalled) {
      this.#interrupted = false;
      if (this.#following) this.#control.restart();
    }
    if (this.#mode === 'own' && this.#following && wanted) this.#follow(hls, nowMs, stalled);
  }

  #follow(hls: Hls, nowMs: number, stalled: boolean): void {
    const details = hls.latestLevelDetails;
    if (details?.live !== true) {
      this.#video.playbackRate = 1;
      return;
    }
    const decision = this.#control.decide({
      nowMs,
      currentTimeS: this.#video.currentTime,
      bufferedEndS: bufferedEndS(this.#video),
      edgeS: details.edge + details.age,
      partTargetS: details.partTarget || details.targetduration,
      partHoldBackS: holdBackS(details),
      // Nobody comes closer to a broadcaster that is away by keeping a greater distance.
      stalled: stalled && !this.broadcastGap,
    });
    this.#decision = decision;
    if (decision.seekToS !== undefined) this.#video.currentTime = decision.seekToS;
    if (this.#video.playbackRate !== decision.playbackRate) this.#video.playbackRate = decision.playbackRate;
  }

  /** Goes on behind a hole in the buffer, such as parts that were gaps leave. */
  #jumpHole(): void {
    const { buffered, currentTime } = this.#video;
    for (let index = 0; index < buffered.length; index++) {
      const startS = buffered.start(index);
      if (startS <= currentTime || buffered.end(index) - startS < HOLE_MIN_AHEAD_S) continue;
      this.#video.currentTime = startS + 0.01;
      return;
    }
  }
}

function describeLevel(level: Level, index: number): PlaybackLevel {
  return {
    index,
    width: level.width,
    height: level.height,
    frameRate: level.frameRate,
    bitrateBps: level.bitrate,
  };
}

function holdBackS(details: { partHoldBack: number; holdBack: number; targetduration: number }): number {
  return details.partHoldBack || details.holdBack || 3 * details.targetduration;
}

/** End of the buffered range under the playhead; the playhead itself when there is none. */
function bufferedEndS(video: HTMLVideoElement): number {
  const { buffered, currentTime } = video;
  for (let index = 0; index < buffered.length; index++) {
    if (buffered.start(index) <= currentTime + 0.1 && currentTime <= buffered.end(index))
      return buffered.end(index);
  }
  return currentTime;
}
