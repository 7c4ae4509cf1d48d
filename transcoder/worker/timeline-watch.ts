import { TranscodeError } from '#transcoder/transcode-error.ts';
import type { PlannedRendition } from '#transcoder/ladder/ladder-plan.ts';

/** How long a timeline may be unwell. */
export type WatchLimits = {
  /** From the start of the encoder to the first frame of every rendition. */
  readonly startTimeoutMs: number;
  /** Nothing comes out of a rendition though so much has gone in. */
  readonly stallTimeoutMs: number;
  /** One kind of media does not come while the other went on for so long. */
  readonly vanishTimeoutMs: number;
  /** Output may be behind input by so much for ever … */
  readonly lagMaxMs: number;
  /** … and by more for so long. */
  readonly slowTimeoutMs: number;
};

type Kind = 'video' | 'audio';
type Progress = { mediaMs: number; atMs: number };

/** Compares what goes into an encoder with what comes out. Pure: it is told the time. */
export class TimelineWatch {
  readonly #limits: WatchLimits;
  readonly #renditions: readonly PlannedRendition[];
  readonly #startedMs: number;
  readonly #inputs = new Map<Kind, Progress>();
  readonly #outputs = new Map<string, Progress>();
  #slowSinceMs: number | undefined;

  /** @param nowMs monotonic, as in all methods */
  constructor(limits: WatchLimits, renditions: readonly PlannedRendition[], nowMs: number) {
    this.#limits = limits;
    this.#renditions = renditions;
    this.#startedMs = nowMs;
  }

  /** A frame of that kind, up to `mediaMs`, has been given to the encoder. */
  input(kind: Kind, mediaMs: number, nowMs: number): void {
    const before = this.#inputs.get(kind)?.mediaMs ?? 0;
    this.#inputs.set(kind, { mediaMs: Math.max(before, mediaMs), atMs: nowMs });
  }

  /** A rendition has come out up to `mediaMs`. */
  output(renditionId: string, mediaMs: number, nowMs: number): void {
    this.#outputs.set(renditionId, { mediaMs, atMs: nowMs });
  }

  /** How far the slowest rendition is behind what has gone in. */
  lagMs(): number {
    return Math.max(0, ...this.#renditions.map((rendition) => this.#lagOf(rendition)));
  }

  /** What is wrong now, if anything. */
  check(nowMs: number): TranscodeError | undefined {
    return this.#checkInput() ?? this.#checkStall(nowMs) ?? this.#checkSpeed(nowMs);
  }

  #lagOf(rendition: PlannedRendition): number {
    const input = this.#inputs.get(rendition.kind)?.mediaMs ?? 0;
    return input - (this.#outputs.get(rendition.id)?.mediaMs ?? 0);
  }

  #checkInput(): TranscodeError | undefined {
    const kinds = new Set(this.#renditions.map((rendition) => rendition.kind));
    if (kinds.size < 2) return undefined;
    const at = (kind: Kind): number => this.#inputs.get(kind)?.mediaMs ?? 0;
    for (const [kind, other] of [
      ['audio', 'video'],
      ['video', 'audio'],
    ] as const) {
      const missingMs = at(other) - at(kind);
      if (missingMs > this.#limits.vanishTimeoutMs)
        return new TranscodeError('track_vanished', `no ${kind} for ${Math.round(missingMs)} ms of ${other}`);
    }
    return undefined;
  }

  #checkStall(nowMs: number): TranscodeError | undefined {
    for (const rendition of this.#renditions) {
      const output = this.#outputs.get(rendition.id);
      const silentMs = nowMs - (output?.atMs ?? this.#startedMs);
      const timeoutMs = output === undefined ? this.#limits.startTimeoutMs : this.#limits.stallTimeoutMs;
      if (silentMs > timeoutMs && this.#lagOf(rendition) > Math.min(timeoutMs, this.#limits.stallTimeoutMs))
        return new TranscodeError(
          'encoder_stalled',
          `${rendition.id}: nothing came out for ${Math.round(silentMs)} ms`,
        );
    }
    return undefined;
  }

  #checkSpeed(nowMs: number): TranscodeError | undefined {
    const lagMs = this.lagMs();
    // A timeline begins with a burst that has waited for the encoder to start.
    const isStarting = nowMs - this.#startedMs < this.#limits.startTimeoutMs;
    if (isStarting || lagMs <= this.#limits.lagMaxMs) {
      this.#slowSinceMs = undefined;
      return undefined;
    }
    this.#slowSinceMs ??= nowMs;
    if (nowMs - this.#slowSinceMs <= this.#limits.slowTimeoutMs) return undefined;
    return new TranscodeError('encoder_slow', `the output is ${Math.round(lagMs)} ms behind the input`);
  }
}
