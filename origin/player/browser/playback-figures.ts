import type Hls from 'hls.js';
import type { Level } from 'hls.js';
import { liveEdgeS } from './live-edge.ts';
import { bufferedEndS } from './media-buffer.ts';

/** A rung of the ladder. */
export type PlaybackLevel = {
  readonly index: number;
  readonly width: number;
  readonly height: number;
  readonly frameRate: number;
  readonly bitrateBps: number;
};

/** What can be read off a playing element and its hls.js at any moment; undefined where there is nothing yet. */
export class PlaybackFigures {
  readonly #video: HTMLVideoElement;
  readonly #hls: () => Hls | undefined;

  /** @param hls the instance that plays now */
  constructor(video: HTMLVideoElement, hls: () => Hls | undefined) {
    this.#video = video;
    this.#hls = hls;
  }

  /** Seconds from the estimated live edge of the playlist to the picture on screen. */
  get latencyS(): number | undefined {
    const details = this.#hls()?.latestLevelDetails;
    if (details?.live !== true || this.#video.readyState === HTMLMediaElement.HAVE_NOTHING) return undefined;
    return liveEdgeS(details) - this.#video.currentTime;
  }

  /** Seconds from the picture's PROGRAM-DATE-TIME to this machine's clock; as right as that clock. */
  get wallClockLatencyS(): number | undefined {
    const date = this.#hls()?.playingDate;
    return date === undefined || date === null ? undefined : (Date.now() - date.getTime()) / 1_000;
  }

  get playbackRate(): number {
    return this.#video.playbackRate;
  }

  get bufferS(): number {
    return bufferedEndS(this.#video) - this.#video.currentTime;
  }

  get levels(): readonly PlaybackLevel[] {
    return (this.#hls()?.levels ?? []).map(describeLevel);
  }

  /** The rung on screen. */
  get level(): PlaybackLevel | undefined {
    const hls = this.#hls();
    const index = hls?.currentLevel ?? -1;
    const level = hls?.levels[index];
    return level === undefined ? undefined : describeLevel(level, index);
  }

  /** Index of the rung the viewer chose, -1 for automatic. */
  get chosenLevel(): number {
    const hls = this.#hls();
    return hls === undefined || hls.autoLevelEnabled ? -1 : hls.manualLevel;
  }

  get bandwidthBps(): number | undefined {
    return this.#hls()?.bandwidthEstimate;
  }

  /** PATHWAY-ID that media comes from, when the stream is steered. */
  get pathway(): string | undefined {
    const hls = this.#hls();
    return hls?.levels[hls.currentLevel]?.attrs['PATHWAY-ID'];
  }

  /** Frames since the element began to play this stream. */
  get frames(): { readonly shown: number; readonly dropped: number } {
    const quality = this.#video.getVideoPlaybackQuality();
    return { shown: quality.totalVideoFrames, dropped: quality.droppedVideoFrames };
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
