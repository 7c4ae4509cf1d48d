import type { Clock } from '#runtime/clock.ts';

export type PacketLogLimits = { readonly backlogBytesMax: number; readonly backlogDurationMaxMs: number };

type Entry = {
  readonly frame: Buffer;
  readonly addedMs: number;
  /** What a reader that begins here gets first; undefined where none can begin. */
  readonly prelude: readonly Buffer[] | undefined;
};

/** What a {@link PacketLogReader} finds: frames, nothing yet, nothing any more, or that its next frames are gone. */
export type LogRead = { readonly frames: readonly Buffer[] } | 'empty' | 'ended' | 'fell_behind';

/**
 * Frames are handed out in lots: a reader that has much to catch up with must neither hold up the others nor keep in its
 * socket what the log may have to let go.
 */
const FRAMES_PER_READ = 64;
const BYTES_PER_READ = 128 * 1024;
/** Gone entries are cut off the array in lots. */
const COMPACT_AFTER = 512;

/**
 * The packets of one publish, for any number of readers at their own speed. Keeps what a slower reader still has to
 * read and everything from the last place where a new one can begin, within limits of bytes and time; a reader whose
 * packets had to go is told so.
 */
export class PacketLog {
  readonly #limits: PacketLogLimits;
  readonly #clock: Clock;
  readonly #readers = new Set<PacketLogReader>();
  #entries: (Entry | undefined)[] = [];
  /** Position of `#entries[0]`; positions only grow. */
  #basePosition = 0;
  #firstPosition = 0;
  #restartPosition: number | undefined;
  #byteCount = 0;
  #hasEnded = false;

  constructor(limits: PacketLogLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  get byteCount(): number {
    return this.#byteCount;
  }

  get readerCount(): number {
    return this.#readers.size;
  }

  /** Whether no frame will come any more. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Says that no frame will come any more, and wakes the readers. */
  end(): void {
    this.#hasEnded = true;
    for (const reader of this.#readers) reader.wake();
  }

  /** Lets go of everything; whoever has not read it all has fallen behind. */
  discard(): void {
    const endPosition = this.#endPosition;
    this.#entries = [];
    this.#basePosition = endPosition;
    this.#firstPosition = endPosition;
    this.#restartPosition = undefined;
    this.#byteCount = 0;
    this.end();
  }

  /** Adds a frame and wakes the readers. */
  append(frame: Buffer, prelude?: readonly Buffer[]): void {
    const position = this.#endPosition;
    if (prelude !== undefined) this.#restartPosition = position;
    this.#entries.push({ frame, prelude, addedMs: this.#clock.monotonicMs() });
    this.#byteCount += frame.length;
    for (const reader of this.#readers)
      if (reader.position === undefined && prelude !== undefined) reader.beginAt(position);
    this.#evict();
    for (const reader of this.#readers) reader.wake();
  }

  /** A reader from the last place where one can begin, or from the next such place if there is none. */
  openReader(onReadable: () => void): PacketLogReader {
    const reader = new PacketLogReader(this, onReadable);
    this.#readers.add(reader);
    if (this.#restartPosition !== undefined) reader.beginAt(this.#restartPosition);
    return reader;
  }

  /** Forgets a reader. */
  closeReader(reader: PacketLogReader): void {
    this.#readers.delete(reader);
    this.#evict();
  }

  /** @returns undefined when the position is gone */
  entryAt(position: number): Entry | 'end' | undefined {
    if (position >= this.#endPosition) return 'end';
    return this.#entries[position - this.#basePosition];
  }

  get #endPosition(): number {
    return this.#basePosition + this.#entries.length;
  }

  #evict(): void {
    let neededFrom = this.#restartPosition ?? this.#endPosition;
    for (const reader of this.#readers) neededFrom = Math.min(neededFrom, reader.position ?? neededFrom);
    const oldestMs = this.#clock.monotonicMs() - this.#limits.backlogDurationMaxMs;
    while (this.#firstPosition < this.#endPosition) {
      const entry = this.#entries[this.#firstPosition - this.#basePosition];
      if (entry === undefined) break;
      const isOver = this.#byteCount > this.#limits.backlogBytesMax || entry.addedMs < oldestMs;
      if (this.#firstPosition >= neededFrom && !isOver) break;
      this.#entries[this.#firstPosition - this.#basePosition] = undefined;
      this.#byteCount -= entry.frame.length;
      if (this.#restartPosition === this.#firstPosition) this.#restartPosition = undefined;
      this.#firstPosition++;
    }
    const gone = this.#firstPosition - this.#basePosition;
    if (gone < COMPACT_AFTER) return;
    this.#entries = this.#entries.slice(gone);
    this.#basePosition = this.#firstPosition;
  }
}

/** One reader's place in a {@link PacketLog}. */
export class PacketLogReader {
  readonly #log: PacketLog;
  readonly #onReadable: () => void;
  #position: number | undefined;
  #hasBegun = false;

  constructor(log: PacketLog, onReadable: () => void) {
    this.#log = log;
    this.#onReadable = onReadable;
  }

  /** Where the next frame is read; undefined while there is no place to begin. */
  get position(): number | undefined {
    return this.#position;
  }

  beginAt(position: number): void {
    this.#position = position;
  }

  wake(): void {
    this.#onReadable();
  }

  /** Whether the next frame had to go before it was read. */
  get hasFallenBehind(): boolean {
    return this.#position !== undefined && this.#log.entryAt(this.#position) === undefined;
  }

  /** The next frames, in order. */
  read(): LogRead {
    const nothing = this.#log.hasEnded ? 'ended' : 'empty';
    if (this.#position === undefined) return nothing;
    const frames: Buffer[] = [];
    let byteCount = 0;
    while (frames.length < FRAMES_PER_READ && byteCount < BYTES_PER_READ) {
      const entry = this.#log.entryAt(this.#position);
      if (entry === undefined) return frames.length > 0 ? { frames } : 'fell_behind';
      if (entry === 'end') break;
      if (!this.#hasBegun) frames.push(...(entry.prelude ?? []));
      this.#hasBegun = true;
      frames.push(entry.frame);
      byteCount += entry.frame.length;
      this.#position++;
    }
    return frames.length > 0 ? { frames } : nothing;
  }
}
