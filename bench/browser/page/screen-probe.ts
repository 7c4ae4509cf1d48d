/**
 * Runs inside a page, before its own scripts: finds the first `<video>`, watches every frame that it presents, and reads
 * the broadcaster's clock out of the picture a few times a second. Knows nothing of the player.
 */
import { BARCODE, readBarcode } from '../../source/clock-barcode.ts';
import type { ClockReading, Freeze, ScreenProbe, ScreenReport } from './screen-probe-types.ts';

declare global {
  interface Window {
    screenProbe: ScreenProbe;
  }
}

/** Reading the picture costs a copy from the decoder: often enough for percentiles, seldom enough not to disturb. */
const READING_INTERVAL_MS = 200;
/** Six frames at 30 fps: shorter pauses are jitter of a busy machine, not something that a viewer calls a stall. */
const FREEZE_MS = 200;
/** Samples per cell of the code, and lines, in the small canvas. */
const CELL_SAMPLES = 4;
const LINES = 4;

const readings: ClockReading[] = [];
const freezes: Freeze[] = [];
const waitingAtMs: number[] = [];
let unreadable = 0;
let firstFrameMs: number | undefined;
let framesPresented = 0;
let lastFrameAtMs = 0;
let lastReadingAtMs = -Infinity;
let video: HTMLVideoElement | undefined;

const canvas = document.createElement('canvas');
canvas.width = BARCODE.cells * CELL_SAMPLES;
canvas.height = LINES;
const context = canvas.getContext('2d', { willReadFrequently: true, alpha: false });

/** Brightness of the middle of every cell. */
function cellBrightness(element: HTMLVideoElement): number[] {
  if (context === null) return [];
  const { videoWidth: width, videoHeight: height } = element;
  context.drawImage(
    element,
    BARCODE.left * width,
    // The middle half of the code's height, away from its edges.
    (BARCODE.top + BARCODE.height / 4) * height,
    BARCODE.cells * BARCODE.cellWidth * width,
    (BARCODE.height / 2) * height,
    0,
    0,
    canvas.width,
    canvas.height,
  );
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return Array.from({ length: BARCODE.cells }, (_, cell) => {
    let sum = 0;
    for (let line = 1; line < LINES - 1; line++)
      for (let sample = 1; sample < CELL_SAMPLES - 1; sample++)
        sum += data[(line * canvas.width + cell * CELL_SAMPLES + sample) * 4 + 1] ?? 0;
    return sum / ((LINES - 2) * (CELL_SAMPLES - 2));
  });
}

function watch(element: HTMLVideoElement): void {
  video = element;
  element.addEventListener('waiting', () => {
    if (framesPresented > 0) waitingAtMs.push(Date.now());
  });
  const onFrame: VideoFrameRequestCallback = (nowMs, frame) => {
    framesPresented += 1;
    firstFrameMs ??= frame.expectedDisplayTime;
    if (lastFrameAtMs > 0 && nowMs - lastFrameAtMs > FREEZE_MS)
      freezes.push({ atMs: Date.now(), durationMs: nowMs - lastFrameAtMs });
    lastFrameAtMs = nowMs;
    if (nowMs - lastReadingAtMs >= READING_INTERVAL_MS) {
      lastReadingAtMs = nowMs;
      const clock = readBarcode(cellBrightness(element));
      // Whichever is later: when the compositor means to show it, or when we are told of it.
      const onScreenAtMs = Date.now() + Math.max(0, frame.expectedDisplayTime - performance.now());
      if (clock === undefined) unreadable += 1;
      else readings.push({ onScreenAtMs, clock, mediaTimeS: frame.mediaTime });
    }
    element.requestVideoFrameCallback(onFrame);
  };
  element.requestVideoFrameCallback(onFrame);
}

function take(): ScreenReport {
  const quality = video?.getVideoPlaybackQuality();
  const buffered = video?.buffered;
  const endS = buffered !== undefined && buffered.length > 0 ? buffered.end(buffered.length - 1) : 0;
  return {
    readings: readings.splice(0),
    unreadable,
    freezes: freezes.splice(0),
    waitingAtMs: waitingAtMs.splice(0),
    firstFrameMs,
    framesPresented,
    framesDropped: quality?.droppedVideoFrames ?? 0,
    framesDecoded: quality?.totalVideoFrames ?? 0,
    width: video?.videoWidth ?? 0,
    height: video?.videoHeight ?? 0,
    currentTimeS: video?.currentTime ?? 0,
    bufferedAheadS: Math.max(0, endS - (video?.currentTime ?? 0)),
    playbackRate: video?.playbackRate ?? 0,
    paused: video?.paused ?? true,
  };
}

window.screenProbe = { take };

function findVideo(): void {
  const element = document.querySelector('video');
  if (element === null) requestAnimationFrame(findVideo);
  else watch(element);
}
findVideo();
