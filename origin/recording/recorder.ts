import { ProblemError } from '#runtime/http/problem.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { ObjectStore } from '#runtime/objects/object-store.ts';
import type { Database } from '#runtime/postgres/database.ts';
import type { Client } from '#origin/live/held-requests.ts';
import { digestOf } from '#origin/live/live-segment.ts';
import type {
  PresentationRecorder,
  RecordedMedia,
  RecordingWish,
  RestoredStream,
  StreamRecorder,
} from '#origin/live/stream-recorder.ts';
import { IndexWriter } from '#origin/recording/index-writer.ts';
import { LiveRecording } from '#origin/recording/live-recording.ts';
import { ObjectReads } from '#origin/recording/object-reads.ts';
import { RecordingCatalog } from '#origin/recording/recording-catalog.ts';
import { RecordingMetrics } from '#origin/recording/recording-metrics.ts';
import {
  initKey,
  recordingKey,
  recordingPrefix,
  segmentKey,
  type RecordingRef,
} from '#origin/recording/recording-place.ts';
import type { RecordingSettings } from '#origin/recording/recording-settings.ts';
import { spooledState } from '#origin/recording/recording-state.ts';
import { RecordingSweeper } from '#origin/recording/recording-sweeper.ts';
import {
  endRecording,
  findOpenRecordings,
  findStreams,
  isEnded,
  newestPage,
  readEntries,
  type RecordingRow,
} from '#origin/recording/recordings-table.ts';
import { loadSpooled, restoreStream } from '#origin/recording/restore-recording.ts';
import { pageOf, type SegmentEntry } from '#origin/recording/segment-entry.ts';
import type { Spool, SpooledRecording } from '#origin/recording/spool.ts';
import { UploadQueue } from '#origin/recording/upload-queue.ts';

export type RecorderDeps = {
  readonly store: ObjectStore;
  readonly spool: Spool;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: RecordingMetrics;
  /** Whether other origins record the same streams: then what is open may be theirs, and only the spool is ours. */
  readonly isShared?: boolean;
};

/** Longest that closing waits for the store; what is left then is in the spool. */
const DRAIN_MS = 1_500;
/** Finished recordings that are remembered for {@link Recorder.isKept}. */
const FINISHED_MAX = 10_000;
/** What is not to be kept goes a while after its end, when nobody can be watching any more. */
const UNKEPT_MS = 60_000;
/** Longest media that the index of a running recording keeps in memory beside its DVR window. */
const INDEX_SLACK_MS = 120_000;

/** Keeps what streams list: in the spool at once, in the store soon, and in the index when it is there. */
export class Recorder implements StreamRecorder {
  readonly metrics: RecordingMetrics;
  readonly #deps: RecorderDeps;
  readonly #settings: RecordingSettings;
  readonly #queue: UploadQueue;
  readonly #reads: ObjectReads;
  /** Of each stream, those that the store and the database do not have all of yet; newest last. */
  readonly #recordings = new Map<string, LiveRecording[]>();
  readonly #finished = new Set<string>();
  /** Only while starting. */
  readonly #restored = new Map<LiveRecording, RestoredStream>();
  readonly #finishing = new Set<LiveRecording>();
  #database: Database | undefined;
  #catalog: RecordingCatalog | undefined;
  #writer: IndexWriter | undefined;
  #sweeper: RecordingSweeper | undefined;

  constructor(settings: RecordingSettings, deps: RecorderDeps) {
    this.#settings = settings;
    this.#deps = { ...deps, logger: deps.logger.child({ subsystem: 'recording' }) };
    this.metrics = deps.metrics;
    this.#queue = new UploadQueue(settings, this.#deps);
    this.#reads = new ObjectReads(settings, this.#deps);
  }

  static metricsIn(registry: Metrics): RecordingMetrics {
    return new RecordingMetrics(registry);
  }

  /** What the database knows. @throws before {@link start} */
  get catalog(): RecordingCatalog {
    if (this.#catalog === undefined) throw new Error('the recorder has not been started');
    return this.#catalog;
  }

  /**
   * Begins to write the index, and takes up what an earlier process left: streams that went on are returned, everything
   * else is finished on the quiet.
   *
   * @throws {DatabaseUnavailableError}
   */
  async start(database: Database): Promise<RestoredStream[]> {
    const { clock, logger, metrics, store } = this.#deps;
    this.#database = database;
    this.#catalog = new RecordingCatalog(this.#settings, { database, clock });
    const restored = await this.#restore(database);
    this.#writer = new IndexWriter({
      database,
      clock,
      logger,
      metrics,
      recordings: () => this.#all(),
      onWritten: (recording, renditionId, msns) => {
        for (const msn of msns) this.#deps.spool.remove({ ref: recording.ref, renditionId, msn });
      },
      onRound: () => this.#afterRound(),
    });
    this.#sweeper = new RecordingSweeper({
      database,
      clock,
      logger,
      metrics,
      store,
      onDeleted: ({ streamId, id }) => {
        this.#reads.drop(recordingPrefix({ streamId, id }));
        this.#catalog?.forget(streamId);
      },
    });
    return restored;
  }

  begin(streamId: string, firstMsn: number, wish: RecordingWish): PresentationRecorder | undefined {
    if (wish.dvrWindowMs === 0 && wish.retentionMs === 0) return undefined;
    const { clock, spool } = this.#deps;
    const recording = new LiveRecording({ streamId, id: firstMsn }, wish, clock.nowMs(), {
      clock,
      spool,
      queue: this.#queue,
      onFailure: this.#onFailure,
    });
    this.#add(recording);
    return recording;
  }

  removed(streamId: string): void {
    for (const recording of this.#recordings.get(streamId) ?? []) {
      recording.isRemoved = true;
      this.#deps.spool.removeRecording(recording.ref);
    }
    this.#recordings.delete(streamId);
    const prefix = `${streamId}/`;
    this.#queue.drop((key) => key.startsWith(prefix));
    this.#reads.drop(prefix);
    this.#catalog?.forget(streamId);
    this.#sweeper?.soon();
  }

  isKept(streamId: string, firstMsn: number): boolean {
    return this.#finished.has(recordingKey({ streamId, id: firstMsn }));
  }

  /** The recording of a stream that goes on, or has ended and is not finished. */
  running(streamId: string): LiveRecording | undefined {
    return this.#recordings.get(streamId)?.at(-1);
  }

  async segment(
    streamId: string,
    renditionId: string,
    msn: number,
    client: Client,
  ): Promise<RecordedMedia | undefined> {
    const live = this.#recordings.get(streamId)?.findLast(({ ref }) => ref.id <= msn);
    const indexed = live?.renditions.get(renditionId)?.index.find(msn);
    if (live !== undefined && indexed !== undefined) {
      const kind = live.kindOf(renditionId);
      if (indexed.place === 'waiting') {
        const spooled = await this.#deps.spool.read({ ref: live.ref, renditionId, msn });
        if (spooled?.entry !== undefined) {
          this.metrics.reads.inc({ from: 'spool' });
          return { media: { bytes: spooled.bytes, digest: indexed.entry.digest }, kind };
        }
      }
      return this.#read(live.ref, renditionId, indexed.entry, kind, client);
    }
    const row = await this.#recordingWith(streamId, msn);
    const description = row && descriptionOf(row, renditionId);
    if (row === undefined || description === undefined) return undefined;
    const entry = await this.catalog.entry(row.ref, renditionId, msn);
    return entry && this.#read(row.ref, renditionId, entry, description.kind, client);
  }

  async init(
    streamId: string,
    renditionId: string,
    timeline: number,
    client: Client,
  ): Promise<RecordedMedia | undefined> {
    const live = this.#recordings.get(streamId)?.findLast(({ ref }) => ref.id <= timeline);
    const known = live?.renditions.get(renditionId)?.inits.get(timeline);
    if (known !== undefined) return { media: known, kind: known.kind };
    const row = await this.#recordingWith(streamId, timeline);
    const description = row && descriptionOf(row, renditionId);
    if (row === undefined || description === undefined) return undefined;
    const bytes = await this.#reads.read(initKey(row.ref, renditionId, timeline), client);
    return bytes && { media: { bytes, digest: digestOf(bytes) }, kind: description.kind };
  }

  /** Writes what can be written in a short time. What is left is taken up by the next start. */
  async close(): Promise<void> {
    await this.#sweeper?.close();
    await this.#queue.drain(DRAIN_MS);
    await this.#writer?.close();
    this.#queue.close();
    await this.#deps.spool.settle();
  }

  readonly #onFailure = (error: unknown, ref: RecordingRef): void => {
    this.metrics.failures.inc();
    this.#deps.logger.error({ err: error, ...ref }, 'a stream is no longer recorded');
  };

  async #read(
    ref: RecordingRef,
    renditionId: string,
    entry: SegmentEntry,
    kind: RecordedMedia['kind'],
    client: Client,
  ): Promise<RecordedMedia | undefined> {
    const { msn, digest } = entry;
    if (entry.bytes === 0) throw segmentGap(msn);
    const bytes = await this.#reads.read(segmentKey(ref, renditionId, msn), client);
    return bytes && { media: { bytes, digest }, kind };
  }

  /** The recording that a number belongs to, as the database knows it. */
  async #recordingWith(streamId: string, msn: number): Promise<RecordingRow | undefined> {
    const list = await this.catalog.list(streamId);
    return list.find(({ ref }) => ref.id <= msn);
  }

  *#all(): Iterable<LiveRecording> {
    for (const recordings of this.#recordings.values()) yield* recordings;
  }

  #add(recording: LiveRecording): void {
    const { streamId } = recording.ref;
    const recordings = this.#recordings.get(streamId) ?? [];
    recordings.push(recording);
    recordings.sort((a, b) => a.ref.id - b.ref.id);
    this.#recordings.set(streamId, recordings);
  }

  #afterRound(): void {
    const nowMs = this.#deps.clock.nowMs();
    for (const recording of this.#all()) {
      const { dvrWindowMs } = recording.wish;
      const keepMs = Math.max(dvrWindowMs, recording.state?.liveWindowMs ?? 0) + INDEX_SLACK_MS;
      for (const { index } of recording.renditions.values()) index.forgetBefore(nowMs - keepMs);
      const isDone =
        recording.endedAtMs !== undefined &&
        recording.isWritten &&
        !this.#queue.has(recordingPrefix(recording.ref));
      if (isDone && !this.#finishing.has(recording)) void this.#finish(recording);
    }
  }

  /** The store and the database have it all: from now on it is theirs. */
  async #finish(recording: LiveRecording): Promise<void> {
    const { ref, wish, endedAtMs = 0 } = recording;
    this.#finishing.add(recording);
    try {
      const expiresAtMs = endedAtMs + (wish.retentionMs > 0 ? wish.retentionMs : UNKEPT_MS);
      await this.#database?.run(({ sql }) => endRecording(sql, ref, endedAtMs, expiresAtMs));
    } catch (error) {
      this.#deps.logger.debug({ err: error }, 'the end of a recording is written later');
      return;
    } finally {
      this.#finishing.delete(recording);
    }
    this.#deps.spool.removeRecording(ref);
    const left = (this.#recordings.get(ref.streamId) ?? []).filter((other) => other !== recording);
    if (left.length === 0) this.#recordings.delete(ref.streamId);
    else this.#recordings.set(ref.streamId, left);
    this.#catalog?.forget(ref.streamId);
    if (wish.retentionMs > 0) this.#finished.add(recordingKey(ref));
    for (const oldest of this.#finished) {
      if (this.#finished.size <= FINISHED_MAX) break;
      this.#finished.delete(oldest);
    }
    this.#deps.logger.info({ ...ref }, 'recording finished');
  }

  async #restore(database: Database): Promise<RestoredStream[]> {
    const spooled = new Map((await this.#deps.spool.scan()).map((found) => [recordingKey(found.ref), found]));
    if (this.#deps.isShared === true) {
      for (const { ref, renditions } of spooled.values()) await this.#takeShared(ref, renditions);
      return [];
    }
    const rows = await database.run(({ sql }) => findOpenRecordings(sql));
    const streams = await database.run(({ sql }) =>
      findStreams(sql, [...new Set([...spooled.values()].map(({ ref }) => ref.streamId))]),
    );
    for (const row of rows) await this.#take(database, row, spooled.get(recordingKey(row.ref)));
    for (const [key, found] of spooled) {
      if (rows.some(({ ref }) => recordingKey(ref) === key)) continue;
      if (streams.has(found.ref.streamId)) await this.#takeSpooled(database, found);
      else this.#deps.spool.removeRecording(found.ref);
    }
    const restored: RestoredStream[] = [];
    for (const recordings of this.#recordings.values())
      for (const [index, recording] of recordings.entries()) {
        const stream = index === recordings.length - 1 ? this.#restored.get(recording) : undefined;
        if (stream === undefined) recording.ended();
        else restored.push(stream);
        this.metrics.restored.inc({ outcome: stream === undefined ? 'ended' : 'live' });
      }
    this.#restored.clear();
    return restored;
  }

  /** Brings to the store what an earlier process did not; the index is written by those who still have the stream. */
  async #takeShared(ref: RecordingRef, renditions: SpooledRecording['renditions']): Promise<void> {
    const { spool } = this.#deps;
    for (const [renditionId, { msns }] of renditions)
      for (const msn of msns) {
        const place = { ref, renditionId, msn };
        if ((await spool.read(place))?.entry === undefined) spool.remove(place);
        else
          this.#queue.pushSpooled({
            key: segmentKey(ref, renditionId, msn),
            load: async () => (await spool.read(place))?.bytes,
            settled: () => spool.remove(place),
          });
      }
  }

  /** A recording whose row may not have got into the database. */
  async #takeSpooled(database: Database, found: SpooledRecording): Promise<void> {
    const parsed = spooledState.safeParse(found.state);
    const isFinished = await database.run(({ sql }) => isEnded(sql, found.ref));
    if (!parsed.success || isFinished) {
      // Finished: its files were about to be removed. Or written by another version of the program.
      if (!parsed.success) this.metrics.restored.inc({ outcome: 'failed' });
      this.#deps.spool.removeRecording(found.ref);
      return;
    }
    const { beganAtMs, wish, state } = parsed.data;
    await this.#take(
      database,
      { ref: found.ref, beganAtMs, endedAtMs: null, expiresAtMs: null, wish, state },
      found,
    );
  }

  async #take(database: Database, row: RecordingRow, found: SpooledRecording | undefined): Promise<void> {
    const { clock, spool, logger } = this.#deps;
    const { ref, wish, beganAtMs } = row;
    try {
      const inSpool = spooledState.safeParse(found?.state);
      const state = inSpool.success ? inSpool.data.state : row.state;
      const recording = new LiveRecording(ref, wish, beganAtMs, {
        clock,
        spool,
        queue: this.#queue,
        onFailure: this.#onFailure,
      });
      recording.restoreState(state);
      const windowMs = Math.max(wish.dvrWindowMs, state.liveWindowMs) + INDEX_SLACK_MS;
      const segmentMs = state.constants.targetDurationS * 1000;
      for (const { description } of state.renditions) {
        const newest = await database.run(({ sql }) => newestPage(sql, ref, description.id));
        // Segments may be shorter than the target; what is read too much is forgotten later.
        const fromPage = newest - pageOf((2 * windowMs) / segmentMs) - 1;
        const entries = await database.run(({ sql }) => readEntries(sql, ref, description.id, fromPage));
        recording.rendition(description.id).index.load(entries);
      }
      const onLost = (count: number): void => this.metrics.lost.inc({ reason: 'restart' }, count);
      const open = await loadSpooled(recording, found?.renditions ?? new Map(), { spool, onLost });
      const stream = await restoreStream(recording, state, open, {
        spool,
        onLost,
        nowMs: clock.monotonicMs(),
        readInit: async (renditionId, timeline) =>
          (await this.#deps.store.get(initKey(ref, renditionId, timeline)))?.bytes,
      });
      this.#add(recording);
      if (stream !== undefined) this.#restored.set(recording, stream);
    } catch (error) {
      // One broken recording shall not keep the others, and the origin, from starting.
      this.metrics.restored.inc({ outcome: 'failed' });
      logger.error({ err: error, ...ref }, 'a recording cannot be taken up');
    }
  }
}

function descriptionOf({ state }: RecordingRow, renditionId: string) {
  return state.renditions.find(({ description }) => description.id === renditionId)?.description;
}

function segmentGap(msn: number): ProblemError {
  return new ProblemError(404, 'segment_gap', `Segment ${msn} holds no media.`, {
    headers: { 'cache-control': 'public, max-age=5' },
  });
}
