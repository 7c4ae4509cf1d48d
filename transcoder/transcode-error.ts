/** Everything that can go wrong between a broadcaster's packets and the origin. Codes are stable: they are metric labels. */
export const TRANSCODE_ERROR_CODES = {
  /** The machine's ffmpeg is missing or lacks an encoder. */
  encoderUnusable: 'encoder_unusable',
  /** ffmpeg ended by itself. */
  encoderExited: 'encoder_exited',
  /** Input flows, nothing comes out. */
  encoderStalled: 'encoder_stalled',
  /** Output stays behind input for long. */
  encoderSlow: 'encoder_slow',
  /** ffmpeg does not read its input. */
  encoderBacklog: 'encoder_backlog',
  /** The packets of the broadcaster could not be read any further, though it is still there. */
  inputLost: 'input_lost',
  /** ffmpeg wrote boxes that are damaged or are not what was ordered. */
  fragmentInvalid: 'fragment_invalid',
  /** Frames that do not lie on the part grid. */
  timestampsOffGrid: 'timestamps_off_grid',
  /** The broadcaster's key frames do not lie on segment boundaries, so its video cannot be copied. */
  copyOffGrid: 'copy_off_grid',
  /** Audio or video stopped coming while the other went on. */
  trackVanished: 'track_vanished',
  /** Audio or video came that was not there when the timeline began. */
  trackJoined: 'track_joined',
  /** A codec that is not H.264 or AAC, or a configuration that cannot be read. */
  sourceUnsupported: 'source_unsupported',
  /** No part grid for the stream's durations at this frame rate. */
  gridImpossible: 'grid_impossible',
  /** No origin answered in time. */
  originUnreachable: 'origin_unreachable',
  /** The origin says that the session is over or that a newer one exists. */
  sessionOver: 'session_over',
  /** The origin does not know the timeline any more, for example because it was restarted. */
  timelineLost: 'timeline_lost',
  /** The origin refuses what is sent, for good. */
  originRefused: 'origin_refused',
  /** Too many sessions on this machine already. */
  sessionsExhausted: 'sessions_exhausted',
  /** The media time of one timeline has reached the end of what its input format can say. */
  timelineTooLong: 'timeline_too_long',
} as const;
export type TranscodeErrorCode = (typeof TRANSCODE_ERROR_CODES)[keyof typeof TRANSCODE_ERROR_CODES];

/** An expected failure of a transcode session; whether it is the end of the session is decided by the session. */
export class TranscodeError extends Error {
  readonly code: TranscodeErrorCode;
  override readonly name = 'TranscodeError';

  constructor(code: TranscodeErrorCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
  }
}

/** Any error as a {@link TranscodeError}; one that is not expected keeps its message and becomes `fallback`. */
export function toTranscodeError(error: unknown, fallback: TranscodeErrorCode): TranscodeError {
  if (error instanceof TranscodeError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new TranscodeError(fallback, message, { cause: error });
}
