/** One reading of the clock in the picture. */
export type ClockReading = {
  /** When the frame is expected on the screen, epoch milliseconds by the page's clock. */
  readonly onScreenAtMs: number;
  /** What its barcode says. @see readBarcode */
  readonly clock: number;
  /** Media time of the frame. */
  readonly mediaTimeS: number;
};

/** A pause between two presented frames that is long enough to be seen. */
export type Freeze = { readonly atMs: number; readonly durationMs: number };

/** What the probe has seen since the last reading (the counters: since the start). */
export type ScreenReport = {
  readonly readings: readonly ClockReading[];
  /** Readings that failed: no code, or one that does not fit its checksum. */
  readonly unreadable: number;
  readonly freezes: readonly Freeze[];
  /** Times of the `waiting` event after the first frame: playback ran dry. */
  readonly waitingAtMs: readonly number[];
  /** First presented frame, milliseconds since the page was asked for. */
  readonly firstFrameMs: number | undefined;
  readonly framesPresented: number;
  readonly framesDropped: number;
  readonly framesDecoded: number;
  readonly width: number;
  readonly height: number;
  readonly currentTimeS: number;
  readonly bufferedAheadS: number;
  readonly playbackRate: number;
  readonly paused: boolean;
};

/** What the page offers to the bench as `window.screenProbe`. */
export type ScreenProbe = { take(): ScreenReport };
