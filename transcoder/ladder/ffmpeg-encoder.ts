import ffmpeg from 'fluent-ffmpeg';
import { Readable } from 'node:stream';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import { TranscodeError } from '#transcoder/transcode-error.ts';
import { ffmpegArguments } from '#transcoder/ladder/ffmpeg-arguments.ts';
import type { LadderPlan } from '#transcoder/ladder/ladder-plan.ts';
import { TrackSockets, type TrackReader } from '#transcoder/ladder/track-sockets.ts';

/** Limits of one encoder process. */
export type EncoderLimits = {
  /** FLV bytes that may wait for ffmpeg to read them; more is `encoder_backlog`. */
  readonly backlogBytesMax: number;
  /** From the end of the input to a clean exit; then it is killed. */
  readonly stopTimeoutMs: number;
  /** `nice` value of the process; 0 leaves it alone. */
  readonly niceness: number;
};

/** How an encoder came to its end. */
export type EncoderExit = { readonly error: TranscodeError | undefined };

type EncoderDeps = { readonly clock: Clock; readonly logger: Logger };

const STDERR_LINES_KEPT = 40;
/** How long data may still come out of the sockets of a process that has gone. */
const DRAIN_TIMEOUT_MS = 1_000;

/**
 * One ffmpeg process: FLV goes in by {@link FfmpegEncoder.write}, fragmented MP4 of every encoded rendition comes out at
 * the reader. When this process dies the encoder follows: its input ends and its sockets break.
 */
export class FfmpegEncoder {
  /** Resolves when the process has gone and all of its output has been read. Never rejects. */
  readonly finished: Promise<EncoderExit>;
  readonly #limits: EncoderLimits;
  readonly #deps: EncoderDeps;
  readonly #sockets: TrackSockets;
  readonly #input: Readable;
  readonly #command: ffmpeg.FfmpegCommand;
  #started = false;
  #killed = false;
  #gone = false;
  #inputEnded = false;
  #stopTimer: Timer | undefined;

  private constructor(plan: LadderPlan, sockets: TrackSockets, limits: EncoderLimits, deps: EncoderDeps) {
    this.#limits = limits;
    this.#deps = deps;
    this.#sockets = sockets;
    // Pushed to as packets come; what the pipe does not take yet stays in here and is counted.
    this.#input = new Readable({ read: () => undefined });
    this.#command = buildCommand(plan, sockets, this.#input, limits);
    const exited = this.#watch();
    this.finished = exited.then((exit) => this.#drain(exit));
  }

  /**
   * Opens the sockets and starts the process. Resolves before ffmpeg is up: input may be written at once.
   *
   * @param plan must have at least one rendition with mode `encode`
   */
  static async start(
    plan: LadderPlan,
    reader: TrackReader,
    limits: EncoderLimits,
    deps: EncoderDeps,
  ): Promise<FfmpegEncoder> {
    const ids = plan.renditions.filter((one) => one.mode === 'encode').map((one) => one.id);
    const sockets = await TrackSockets.listen(ids, reader);
    const encoder = new FfmpegEncoder(plan, sockets, limits, deps);
    encoder.#command.run();
    return encoder;
  }

  /** FLV bytes that ffmpeg has not taken yet. */
  get backlogBytes(): number {
    return this.#input.readableLength;
  }

  /** Process id once it runs, for measurements. */
  get pid(): number | undefined {
    return (this.#command as { ffmpegProc?: { pid?: number } }).ffmpegProc?.pid;
  }

  /** @throws {TranscodeError} `encoder_backlog` when too much waits already */
  write(bytes: Uint8Array): void {
    if (this.#gone || this.#inputEnded) return;
    if (this.backlogBytes + bytes.length > this.#limits.backlogBytesMax)
      throw new TranscodeError(
        'encoder_backlog',
        `ffmpeg has left ${this.backlogBytes} bytes of its input unread`,
      );
    this.#input.push(bytes);
  }

  /** Ends the input; ffmpeg flushes and goes, or is killed after `stopTimeoutMs`. */
  endInput(): void {
    if (this.#gone || this.#inputEnded) return;
    this.#inputEnded = true;
    this.#input.push(null);
    this.#stopTimer = this.#deps.clock.after(this.#limits.stopTimeoutMs, () => this.kill());
  }

  /** SIGKILL, also when the process is only just being started. */
  kill(): void {
    this.#killed = true;
    if (!this.#started || this.#gone) return;
    this.#command.kill('SIGKILL');
  }

  #watch(): Promise<EncoderExit> {
    const lines: string[] = [];
    const { promise, resolve } = Promise.withResolvers<EncoderExit>();
    const gone = (exit: EncoderExit): void => {
      this.#gone = true;
      this.#stopTimer?.cancel();
      this.#input.destroy();
      resolve(exit);
    };
    this.#command.on('start', () => {
      this.#started = true;
      // A kill before the process existed would have been lost.
      if (this.#killed) this.kill();
    });
    this.#command.on('stderr', (line: string) => {
      this.#deps.logger.debug({ line }, 'ffmpeg');
      lines.push(line);
      if (lines.length > STDERR_LINES_KEPT) lines.shift();
    });
    this.#command.on('end', () => gone({ error: undefined }));
    this.#command.on('error', (error: Error) => {
      const said = lines.slice(-5).join(' | ');
      gone({
        error: new TranscodeError(
          'encoder_exited',
          `${this.#killed ? 'killed: ' : ''}${error.message}${said === '' ? '' : ` (${said})`}`,
          { cause: error },
        ),
      });
    });
    return promise;
  }

  async #drain(exit: EncoderExit): Promise<EncoderExit> {
    const { promise: timeout, resolve } = Promise.withResolvers<void>();
    const timer = this.#deps.clock.after(DRAIN_TIMEOUT_MS, resolve);
    await Promise.race([this.#sockets.ended(), timeout]);
    timer.cancel();
    await this.#sockets.close();
    return exit;
  }
}

function buildCommand(
  plan: LadderPlan,
  sockets: TrackSockets,
  input: Readable,
  limits: EncoderLimits,
): ffmpeg.FfmpegCommand {
  const targets = plan.renditions
    .filter((rendition) => rendition.mode === 'encode')
    .map((rendition) => ({ rendition, socketPath: sockets.pathOf(rendition.id) }));
  const { inputOptions, complexFilter, outputs } = ffmpegArguments(plan, targets);
  const command = ffmpeg({ stdoutLines: STDERR_LINES_KEPT, niceness: limits.niceness });
  command.input(input).inputOptions(...inputOptions);
  if (complexFilter !== undefined) command.complexFilter(complexFilter);
  for (const output of outputs) command.output(output.target).outputOptions(...output.options);
  return command;
}
