/**
 * The limits and tastes of the live window. What a stream may choose for itself (segment length, window, reconnect
 * window) comes with its timelines instead, see `TimelineInput`.
 */
export type LiveSettings = {
  /** Held requests of all streams together; one more is answered 503 `waiters_exhausted`. */
  readonly waitersMax: number;
  /** Held requests of one stream; one more is answered 503 `stream_waiters_exhausted`. */
  readonly streamWaitersMax: number;
  /** Held requests of one client address; one more is answered 503 `address_waiters_exhausted`. */
  readonly addressWaitersMax: number;
  /** Waiters woken in one go before other requests get a turn. */
  readonly releaseSliceSize: number;
  /** Media bytes of one stream, evicted but still downloadable ones included; the oldest leave first. */
  readonly streamBytesMax: number;
  /** Media bytes of all streams together; one more part is refused with 503 `live_window_full`. */
  readonly totalBytesMax: number;
  /** Streams that may have a live window at once; one more timeline is refused with 503 `streams_exhausted`. */
  readonly streamsMax: number;
  /** How long an ended playlist stays served, ms. */
  readonly endedRetentionMs: number;
};

/** Limits that suit one process with 1 GB to spare. */
export const DEFAULT_LIVE_SETTINGS: LiveSettings = {
  waitersMax: 20_000,
  streamWaitersMax: 15_000,
  addressWaitersMax: 15_000,
  releaseSliceSize: 192,
  streamBytesMax: 256 * 1024 * 1024,
  totalBytesMax: 768 * 1024 * 1024,
  streamsMax: 256,
  endedRetentionMs: 3_600_000,
};
