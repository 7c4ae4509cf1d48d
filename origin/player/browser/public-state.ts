import type { PathwaySpan } from './pathway-log.ts';
import type { Playback } from './playback.ts';
import type { ViewerMessage } from './viewer-message.ts';

/**
 * `window.player`: what benches, tests and the curious may read of a running player. Getters only; every read is taken
 * at that moment. Times are seconds (`…S`) or milliseconds (`…Ms`); what is not known yet is `null`.
 */
export type PublicPlayerState = {
  /** Grows when a field changes its meaning. */
  readonly version: 1;
  readonly streamId: string | null;
  /** `idle` `loading` `playing` `paused` `blocked` `recording` `ended` `failed` */
  readonly phase: string;
  /** `missing` `network` `busy` `codec` `media` `unsupported`, when the phase is `failed`. */
  readonly failure: string | null;
  /** Headline of the message over the picture. */
  readonly message: string | null;
  /** From the estimated live edge of the playlist to the picture. */
  readonly latencyS: number | null;
  /** From the picture's PROGRAM-DATE-TIME to this machine's clock. */
  readonly wallClockLatencyS: number | null;
  /** The latency that is aimed at now. */
  readonly targetLatencyS: number | null;
  readonly playbackRate: number;
  /** Keeps up with the live edge (false: paused or moved back by the viewer). */
  readonly following: boolean;
  readonly bufferS: number;
  /** Times the picture stood still against the viewer's will since the stream was chosen, and for how long in all. */
  readonly stalls: number;
  readonly stalledMs: number;
  readonly shownFrames: number;
  readonly droppedFrames: number;
  /** From opening the page to the first picture. */
  readonly firstPictureMs: number | null;
  /** From the choice of the stream (or the last restart) to its first picture. */
  readonly startUpMs: number | null;
  /** The rung on screen. */
  readonly level: PublicLevel | null;
  readonly levels: readonly PublicLevel[];
  /** Index of the rung that the viewer chose, -1 for automatic. */
  readonly chosenLevel: number;
  readonly bandwidthBps: number | null;
  /** PATHWAY-ID that media comes from. */
  readonly pathway: string | null;
  /** Which pathway was loaded from when, and why, oldest first; `performance.now()` in ms. */
  readonly pathwaySpans: readonly PathwaySpan[];
  /** Errors of hls.js by name, fatal or not. */
  readonly errors: Readonly<Record<string, number>>;
};

/** A rung of the ladder. */
export type PublicLevel = {
  readonly index: number;
  readonly width: number;
  readonly height: number;
  readonly frameRate: number;
  readonly bitrateBps: number;
};

/** Puts {@link PublicPlayerState} on the window; it cannot be replaced or written. */
export function publishState(
  playback: Playback,
  page: { readonly streamId: () => string | undefined; readonly message: () => ViewerMessage | undefined },
): void {
  const state: PublicPlayerState = Object.freeze({
    version: 1 as const,
    get streamId() {
      return page.streamId() ?? null;
    },
    get phase() {
      return playback.phase;
    },
    get failure() {
      return playback.failure ?? null;
    },
    get message() {
      return page.message()?.title ?? null;
    },
    get latencyS() {
      return playback.figures.latencyS ?? null;
    },
    get wallClockLatencyS() {
      return playback.figures.wallClockLatencyS ?? null;
    },
    get targetLatencyS() {
      return playback.targetLatencyS ?? null;
    },
    get playbackRate() {
      return playback.figures.playbackRate;
    },
    get following() {
      return playback.following;
    },
    get bufferS() {
      return playback.figures.bufferS;
    },
    get stalls() {
      return playback.stalls.count;
    },
    get stalledMs() {
      return playback.stalls.totalMs;
    },
    get shownFrames() {
      return playback.figures.frames.shown;
    },
    get droppedFrames() {
      return playback.figures.frames.dropped;
    },
    get firstPictureMs() {
      return playback.firstPictureMs ?? null;
    },
    get startUpMs() {
      return playback.startUpMs ?? null;
    },
    get level() {
      return playback.figures.level ?? null;
    },
    get levels() {
      return playback.figures.levels;
    },
    get chosenLevel() {
      return playback.figures.chosenLevel;
    },
    get bandwidthBps() {
      return playback.figures.bandwidthBps ?? null;
    },
    get pathway() {
      return playback.figures.pathway ?? null;
    },
    get pathwaySpans() {
      return playback.pathways.spans;
    },
    get errors() {
      return playback.errorCounts;
    },
  });
  Object.defineProperty(window, 'player', { value: state, writable: false, configurable: false });
}
