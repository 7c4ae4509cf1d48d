import { appendFile, mkdir, readdir, readFile, rm, stat, writeFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Logger } from '#runtime/log.ts';
import { recordingKey, renditionFolder, type RecordingRef } from '#origin/recording/recording-place.ts';
import type { RecordingMetrics } from '#origin/recording/recording-metrics.ts';
import type { RecordingSettings } from '#origin/recording/recording-settings.ts';
import { readSpooled, type SpooledHeader, type SpooledSegment } from '#origin/recording/spooled-segment.ts';

export type SpoolDeps = { readonly logger: Logger; readonly metrics: RecordingMetrics };
type SpoolLimits = Pick<RecordingSettings, 'spoolBytesMax' | 'spoolWriteBytesMax'>;

/** A segment's place on disk. */
export type SpoolPlace = { readonly ref: RecordingRef; readonly renditionId: string; readonly msn: number };

/** What an earlier process left of a recording. */
export type SpooledRecording = {
  readonly ref: RecordingRef;
  /** As {@link Spool.writeState} was given it. */
  readonly state: unknown;
  readonly renditions: ReadonlyMap<
    string,
    { readonly msns: readonly number[]; readonly inits: readonly number[] }
  >;
};

/**
 * Parts on disk as they come in, one file per segment, until the store and the index have the segment. It is what a
 * killed process leaves behind, and where segments wait while the store is away. Nobody waits for it: writes of one
 * recording follow one another, and what cannot be written is counted and done without. No fsync: it survives the
 * process, not the machine.
 */
export class Spool {
  readonly #folder: string;
  readonly #limits: SpoolLimits;
  readonly #deps: SpoolDeps;
  /** The last write of each recording. */
  readonly #tails = new Map<string, Promise<void>>();
  /** Bytes of each segment's file. */
  readonly #sizes = new Map<string, number>();
  /** Segments of which something could not be written; the rest of them is not either. */
  readonly #broken = new Set<string>();
  #bytes = 0;
  #writingBytes = 0;
  #warnedAtBytes = -1;

  private constructor(folder: string, limits: SpoolLimits, deps: SpoolDeps) {
    this.#folder = folder;
    this.#limits = limits;
    this.#deps = deps;
  }

  static async open(folder: string, limits: SpoolLimits, deps: SpoolDeps): Promise<Spool> {
    await mkdir(folder, { recursive: true });
    return new Spool(folder, limits, deps);
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Adds to a segment's file. */
  append(place: SpoolPlace, header: SpooledHeader, body: Uint8Array | undefined): void {
    const path = this.#pathOf(place);
    if (this.#broken.has(path)) return;
    const size = body?.length ?? 0;
    if (this.#bytes + size > this.#limits.spoolBytesMax) return this.#breakOff(place.ref, path, 'full');
    if (this.#writingBytes + size > this.#limits.spoolWriteBytesMax)
      return this.#breakOff(place.ref, path, 'behind');
    this.#addSize(path, size);
    this.#writingBytes += size;
    // The part may move into its segment's body meanwhile; these bytes stay the same ones.
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(text.length);
    const record = Buffer.concat(body === undefined ? [length, text] : [length, text, body]);
    this.#inTurn(place.ref, async () => {
      try {
        if (this.#broken.has(path)) return;
        await this.#inFolder(path, () => appendFile(path, record));
      } catch (error) {
        const isFull = error instanceof Error && 'code' in error && error.code === 'ENOSPC';
        if (!isFull) this.#deps.logger.debug({ err: error }, 'the spool cannot be written');
        this.#breakOff(place.ref, path, isFull ? 'full' : 'failed');
      } finally {
        this.#writingBytes -= size;
      }
    });
  }

  /** Whether all of the segment is on disk, after what is being written. */
  async holds(place: SpoolPlace): Promise<boolean> {
    await this.#tails.get(recordingKey(place.ref));
    const path = this.#pathOf(place);
    return this.#sizes.has(path) && !this.#broken.has(path);
  }

  /** @returns undefined when it is not there or not readable */
  async read(place: SpoolPlace): Promise<SpooledSegment | undefined> {
    await this.#tails.get(recordingKey(place.ref));
    try {
      return readSpooled(await readFile(this.#pathOf(place)));
    } catch (error) {
      this.#deps.logger.debug({ err: error }, 'a spooled segment cannot be read');
      return undefined;
    }
  }

  /** The store and the index have it. */
  remove(place: SpoolPlace): void {
    const path = this.#pathOf(place);
    this.#broken.delete(path);
    const size = this.#sizes.get(path);
    if (size === undefined) return;
    this.#addSize(path, -size);
    this.#sizes.delete(path);
    this.#inTurn(place.ref, () => this.#quietly(rm(path, { force: true })));
  }

  writeState(ref: RecordingRef, state: object): void {
    const path = join(this.#folder, recordingKey(ref), 'state.json');
    this.#inTurn(ref, () =>
      this.#quietly(
        this.#inFolder(path, async () => {
          await writeFile(`${path}.new`, JSON.stringify(state));
          await rename(`${path}.new`, path);
        }),
      ),
    );
  }

  writeInit(ref: RecordingRef, renditionId: string, timeline: number, bytes: Uint8Array): void {
    const path = this.#initPath(ref, renditionId, timeline);
    this.#inTurn(ref, () => this.#quietly(this.#inFolder(path, () => writeFile(path, bytes))));
  }

  /** @returns undefined when it is not there */
  async readInit(
    ref: RecordingRef,
    renditionId: string,
    timeline: number,
  ): Promise<Uint8Array<ArrayBuffer> | undefined> {
    try {
      return new Uint8Array(await readFile(this.#initPath(ref, renditionId, timeline)));
    } catch {
      // Then the store may have it.
      return undefined;
    }
  }

  /** The recording is done with, or given up. */
  removeRecording(ref: RecordingRef): void {
    const folder = join(this.#folder, recordingKey(ref));
    for (const path of this.#broken) if (path.startsWith(`${folder}/`)) this.#broken.delete(path);
    for (const [path, size] of this.#sizes) {
      if (!path.startsWith(`${folder}/`)) continue;
      this.#addSize(path, -size);
      this.#sizes.delete(path);
    }
    this.#inTurn(ref, () => this.#quietly(rm(folder, { recursive: true, force: true })));
  }

  /** What an earlier process left. Once, before anything is written. */
  async scan(): Promise<SpooledRecording[]> {
    const found: SpooledRecording[] = [];
    for (const streamId of await namesIn(this.#folder))
      for (const id of await namesIn(join(this.#folder, streamId))) {
        const recording = await this.#scanRecording({ streamId, id: Number(id) });
        if (recording !== undefined) found.push(recording);
      }
    return found;
  }

  /** Resolves when everything has been written that was given so far. */
  async settle(): Promise<void> {
    await Promise.all(this.#tails.values());
  }

  async #scanRecording(ref: RecordingRef): Promise<SpooledRecording | undefined> {
    const folder = join(this.#folder, recordingKey(ref));
    const renditions = new Map<string, { msns: number[]; inits: number[] }>();
    try {
      const state: unknown = JSON.parse(await readFile(join(folder, 'state.json'), 'utf8'));
      for (const name of await namesIn(folder)) {
        if (!name.startsWith('r-')) continue;
        const files = await namesIn(join(folder, name));
        const msns = files.flatMap((file) => Number(/^(\d{1,15})\.seg$/.exec(file)?.[1] ?? []) || []);
        const inits = files.flatMap((file) => Number(/^init-(\d{1,15})$/.exec(file)?.[1] ?? []) || []);
        for (const msn of msns) {
          const path = join(folder, name, `${msn}.seg`);
          this.#addSize(path, (await stat(path)).size);
        }
        renditions.set(name.slice(2), { msns: msns.toSorted((a, b) => a - b), inits });
      }
      return { ref, state, renditions };
    } catch (error) {
      this.#deps.logger.warn(
        { err: error, ...ref },
        'a recording in the spool cannot be read and is dropped',
      );
      this.#deps.metrics.restored.inc({ outcome: 'failed' });
      await rm(folder, { recursive: true, force: true });
      return undefined;
    }
  }

  #breakOff(ref: RecordingRef, path: string, reason: 'full' | 'behind' | 'failed'): void {
    this.#broken.add(path);
    this.#deps.metrics.spoolFailures.inc({ reason });
    if (this.#warnedAtBytes !== this.#bytes)
      this.#deps.logger.warn({ reason, spoolBytes: this.#bytes }, 'a segment is not written to the spool');
    const size = this.#sizes.get(path) ?? 0;
    this.#addSize(path, -size);
    this.#sizes.delete(path);
    this.#warnedAtBytes = this.#bytes;
    this.#inTurn(ref, () => this.#quietly(rm(path, { force: true })));
  }

  #inTurn(ref: RecordingRef, work: () => Promise<void>): void {
    const key = recordingKey(ref);
    const tail = (this.#tails.get(key) ?? Promise.resolve()).then(work).finally(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    this.#tails.set(key, tail);
  }

  /** The folder is made when it turns out to be missing. */
  async #inFolder(path: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
      await mkdir(dirname(path), { recursive: true });
      await work();
    }
  }

  async #quietly(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#deps.metrics.spoolFailures.inc({ reason: 'failed' });
      this.#deps.logger.debug({ err: error }, 'the spool cannot be written');
    }
  }

  #addSize(path: string, bytes: number): void {
    this.#sizes.set(path, (this.#sizes.get(path) ?? 0) + bytes);
    this.#bytes += bytes;
    this.#deps.metrics.spoolBytes.set(this.#bytes);
  }

  #pathOf({ ref, renditionId, msn }: SpoolPlace): string {
    return join(this.#folder, recordingKey(ref), renditionFolder(renditionId), `${msn}.seg`);
  }

  #initPath(ref: RecordingRef, renditionId: string, timeline: number): string {
    return join(this.#folder, recordingKey(ref), renditionFolder(renditionId), `init-${timeline}`);
  }
}

async function namesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.map(({ name }) => name).filter((name) => /^[\w.-]+$/.test(name) && name !== 'state.json');
}
