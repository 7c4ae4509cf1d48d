/** What the broadcaster process is told, once, over its IPC channel. */
export type BroadcastOptions = {
  /** `rtmp://host:port/app/key`. */
  readonly rtmpUrl: string;
  readonly width: number;
  readonly height: number;
  /** Whole frames per second. */
  readonly frameRate: number;
  readonly videoBitrateBps: number;
  readonly preset: string;
  readonly gopSeconds: number;
};

/** One frame's times, epoch milliseconds with fractions. */
export type FrameTimes = {
  readonly index: number;
  /** When it was drawn: the time in its barcode. */
  readonly drawnAtMs: number;
  /** When the encoder handed it to the network (a copy of the same FLV tag came back over a pipe). */
  readonly sentAtMs: number;
};

/** What the broadcaster process reports. */
export type BroadcastReport =
  | { readonly kind: 'started'; readonly ffmpegPid: number }
  | { readonly kind: 'frames'; readonly frames: readonly FrameTimes[] }
  /** Frames drawn later than one frame interval after they were due: the machine is too busy for the figures. */
  | { readonly kind: 'late'; readonly frames: number }
  | { readonly kind: 'ended'; readonly code: number | null; readonly stderr: string };
