import Hls, { type ErrorData } from 'hls.js';
import { LiveEdgeControl, type LiveEdgeDecision } from '../live-edge-control.ts';
import { initialBandwidthBps, rememberBandwidth } from './bandwidth-memory.ts';
import { watchJoinedSegments } from './joined-segment.ts';
import { hlsSettings, type LiveEdgeMode } from './hls-settings.ts';
import { endsInGap, holdBackS, liveEdgeS } from './live-edge.ts';
import { bufferedEndS, nextRangeS } from './media-buffer.ts';
import { PathwayLog } from './pathway-log.ts';
import { watchPathways } from './pathway-watch.ts';
import { classifyFailure, type PlaybackFailure } from './playback-failure.ts';
import { PlaybackFigures } from './playback-figures.ts';
import { resumePauseMs } from './retry-pause.ts';
import { StallMeter } from './stall-meter.ts';
import { StandstillExit } from './standstill-exit.ts';

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

const TICK_MS = 100;
const AT_EDGE_SLACK_S = 1.5;
/** A standstill this long is an interruption of the broadcast or the network: the live edge is approached anew. */
const INTERRUPTION_MS = 2_500;
const MEDIA_RECOVERY_PAUSE_MS = 10_000;

/** Plays one stream in a video element. Errors end in phase `failed`; the owner decides when to load again. */
export class Playback {
  readonly figures: PlaybackFigures;
  /** Which pathway played when, and when the picture stood still. */
  readonly pathways = new PathwayLog();
  readonly #video: HTMLVideoElement;
  readonly #onChange: () => void;
  readonly #mode: LiveEdgeMode;
  readonly #control = new LiveEdgeControl();
  readonly #standstillExit = new StandstillExit();
  #stalls = new StallMeter();
  #hls: Hls | undefined;
  #phase: PlaybackPhase = 'idle';
  #failure: PlaybackFailure | undefined;
  #trouble: PlaybackFailure | undefined;
  #following = true;
  #watchRecording = false;
  #decision: LiveEdgeDecision | undefined;
  #loadedMs = 0;
  #startUpMs: number | undefined;
  #firstPictureMs: number | undefined;
  #interrupted = false;
  #mediaRecoveredMs = Number.NEGATIVE_INFINITY;
  #resumes = 0;
  #resumeTimer: number | undefined;
  #errors = new Map<string, number>();

  /** @param onChange called when the phase or the choice of rungs may have changed */
  constructor(video: HTMLVideoElement, mode: LiveEdgeMode, onChange: () => void) {
    this.#video = video;
    this.#mode = mode;
    this.#onChange = onChange;
    this.figures = new PlaybackFigures(video, () => this.#hls);
    window.setInterval(() => this.#tick(), TICK_MS);
    for (const event of ['waiting', 'playing', 'seeked', 'pause', 'play'] as const)
      video.addEventListener(event, () => this.#tick());
    video.addEventListener('ended', () => this.#become('ended'));
    video.addEventListener('play', () => this.#onPlay());
    video.addEventListener('pause', () => this.#onPause());
  }

  /**
   * Begins to play a multivariant playlist; what was played before ends, its counts go on.
   *
   * @param what a playlist that has ended is played from its start as a `recording`, else only offered by phase `recording`
   */
  load(url: string, what: 'live' | 'recording' = 'live'): void {
    this.#teardown();
    this.#failure = undefined;
    this.#watchRecording = what === 'recording';
    this.#following = what === 'live';
    this.#control.restart();
    this.#decision = undefined;
    this.#startUpMs = undefined;
    this.#loadedMs = performance.now();
    this.#become('loading');
    this.#watchFirstFrame();
    if (Hls.isSupported()) this.#loadByHls(url);
    else this.#loadNatively(url);
  }

  /** Stops and forgets the stream and its counts. */
  unload(): void {
    this.#teardown();
    this.#stalls = new StallMeter();
    this.#errors = new Map();
    this.pathways.clear();
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
    this.#video.currentTime = liveEdgeS(details) - holdBackS(details);
    this.#start();
  }

  /** Moves by some seconds within what can be played; away from the edge, the distance stays as the viewer chose it. */
  seekBy(seconds: number): void {
    const { seekable, currentTime } = this.#video;
    if (seekable.length === 0) return;
    const wantedS = currentTime + seconds;
    const details = this.#hls?.latestLevelDetails;
    if (details?.live === true && wantedS > liveEdgeS(details) - holdBackS(details)) {
      this.goLive();
      return;
    }
    this.#leaveEdge();
    this.#video.currentTime = Math.min(Math.max(seekable.start(0), wantedS), seekable.end(0));
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

  /** Why the phase is `failed`. */
  get failure(): PlaybackFailure | undefined {
    return this.#failure;
  }

  /** What keeps media from coming while playback goes on with what it has, or stands still. */
  get trouble(): PlaybackFailure | undefined {
    return this.#trouble;
  }

  /** Times the picture stood still against the viewer's will, and for how long: now, and in all. */
  get stalls(): { readonly count: number; readonly currentMs: number; readonly totalMs: number } {
    return this.#stalls;
  }

  /** The newest parts are gaps: the broadcaster sends nothing. */
  get broadcastGap(): boolean {
    const details = this.#hls?.latestLevelDetails;
    return details !== undefined && details !== null && endsInGap(details);
  }

  get targetLatencyS(): number | undefined {
    return this.#mode === 'hls.js' ? (this.#hls?.targetLatency ?? undefined) : this.#decision?.targetLatencyS;
  }

  /** Whether the player keeps up with the live edge, rather than play at a distance the viewer chose. */
  get following(): boolean {
    return this.#following;
  }

  get atLiveEdge(): boolean {
    const { latencyS } = this.figures;
    if (latencyS === undefined || !this.#following || this.#video.paused) return false;
    return latencyS < (this.targetLatencyS ?? latencyS) + AT_EDGE_SLACK_S;
  }

  /** From {@link load} to the first picture, in ms. */
  get startUpMs(): number | undefined {
    return this.#startUpMs;
  }

  /** From the opening of the page to the very first picture, in ms. */
  get firstPictureMs(): number | undefined {
    return this.#firstPictureMs;
  }

  /** How often each error of hls.js has come, fatal or not, since the stream was chosen. */
  get errorCounts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#errors);
  }

  #loadByHls(url: string): void {
    let pathwayCount = 1;
    const hls = new Hls(hlsSettings(this.#mode, initialBandwidthBps(), () => pathwayCount > 1));
    this.#hls = hls;
    watchPathways(hls, this.pathways);
    watchJoinedSegments(hls);
    hls.on(Hls.Events.MANIFEST_LOADED, (_event, { levels }) => {
      pathwayCount = new Set(levels.map(({ attrs }) => attrs['PATHWAY-ID'])).size;
    });
    hls.on(Hls.Events.MANIFEST_PARSED, () => this.#onChange());
    hls.on(Hls.Events.LEVEL_SWITCHED, () => this.#onChange());
    hls.on(Hls.Events.BUFFER_APPENDED, () => this.#tick());
    hls.on(Hls.Events.LEVEL_LOADED, (_event, { details }) => {
      if (!details.live && !this.#watchRecording && this.#phase === 'loading') this.#offerRecording();
    });
    hls.on(Hls.Events.LEVEL_UPDATED, () => {
      this.#resumes = 0;
      this.#trouble = undefined;
    });
    hls.on(Hls.Events.ERROR, (_event, error) => this.#onError(error));
    hls.loadSource(url);
    hls.attachMedia(this.#video);
    this.#start();
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

  #start(): void {
    this.#video.play().then(
      () => undefined,
      (error: unknown) => {
        // Anything else is an AbortError: another load() came first, which starts playback itself.
        if (error instanceof DOMException && error.name === 'NotAllowedError') this.#become('blocked');
      },
    );
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
    this.#leaveEdge();
    this.#become('paused');
  }

  #leaveEdge(): void {
    this.#following = false;
    this.#video.playbackRate = 1;
    this.#stalls.settle(performance.now());
  }

  #onError(error: ErrorData): void {
    this.#errors.set(error.details, (this.#errors.get(error.details) ?? 0) + 1);
    if (!error.fatal) return;
    console.warn('playback:', error.type, error.details, error.response?.code ?? '', error.error.message);
    const failure = classifyFailure(error);
    if (failure === 'media' ? this.#recoverMedia() : this.#resume(failure)) return;
    this.#fail(failure);
  }

  #recoverMedia(): boolean {
    const nowMs = performance.now();
    if (this.#hls === undefined || nowMs - this.#mediaRecoveredMs < MEDIA_RECOVERY_PAUSE_MS) return false;
    this.#mediaRecoveredMs = nowMs;
    this.#hls.recoverMediaError();
    this.#start();
    return true;
  }

  /** Tries to go on loading without giving up the picture; false when that has been tried often enough. */
  #resume(failure: PlaybackFailure): boolean {
    const hls = this.#hls;
    const pauseMs = resumePauseMs(failure, this.#resumes);
    if (hls === undefined || this.#startUpMs === undefined || pauseMs === undefined) return false;
    this.#resumes++;
    this.#trouble = failure;
    window.clearTimeout(this.#resumeTimer);
    this.#resumeTimer = window.setTimeout(() => hls.startLoad(), pauseMs);
    return true;
  }

  #fail(failure: PlaybackFailure): void {
    this.#failure = failure;
    this.#teardown();
    this.#become('failed');
  }

  #teardown(): void {
    const hls = this.#hls;
    this.#hls = undefined;
    window.clearTimeout(this.#resumeTimer);
    this.#resumes = 0;
    this.#trouble = undefined;
    this.#interrupted = false;
    if (hls !== undefined) {
      rememberBandwidth(hls.bandwidthEstimate);
      hls.destroy();
    }
    this.pathways.end(performance.now());
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
    this.pathways.stalled(stalled, nowMs);
    if (stalled) this.#leaveStandstill(hls, nowMs);
    else if (this.#interrupted) {
      this.#interrupted = false;
      if (this.#following) this.#control.restart();
    }
    if (this.#mode === 'own' && this.#following && wanted) this.#follow(hls, nowMs, stalled);
  }

  #leaveStandstill(hls: Hls, nowMs: number): void {
    const stalledMs = this.#stalls.currentMs;
    if (stalledMs > INTERRUPTION_MS) this.#interrupted = true;
    const exit = this.#standstillExit.find({
      nowMs,
      stalledMs,
      currentTimeS: this.#video.currentTime,
      nextRangeS: nextRangeS(this.#video),
      details: hls.latestLevelDetails,
      following: this.#following,
    });
    if (exit === undefined) return;
    if (exit === 'over') {
      this.#stalls.settle(nowMs);
      this.#become('ended');
    } else this.#video.currentTime = exit;
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
      edgeS: liveEdgeS(details),
      partTargetS: details.partTarget || details.targetduration,
      partHoldBackS: holdBackS(details),
      // Keeping a greater distance brings no broadcaster back.
      stalled: stalled && !endsInGap(details),
    });
    this.#decision = decision;
    if (decision.seekToS !== undefined) this.#video.currentTime = decision.seekToS;
    if (this.#video.playbackRate !== decision.playbackRate) this.#video.playbackRate = decision.playbackRate;
  }
}
