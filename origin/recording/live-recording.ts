import type { Clock } from '#runtime/clock.ts';
import type { InitSection, LivePart, LiveSegment, MediaKind } from '#origin/live/live-segment.ts';
import type {
  PresentationRecorder,
  PresentationState,
  RecordedWindow,
  RecordingWish,
} from '#origin/live/stream-recorder.ts';
import { initKey, recordingKey, segmentKey, type RecordingRef } from '#origin/recording/recording-place.ts';
import {
  toRecordingState,
  type RecordingState,
  type SpooledState,
} from '#origin/recording/recording-state.ts';
import { RenditionIndex } from '#origin/recording/rendition-index.ts';
import type { PartEntry, SegmentEntry } from '#origin/recording/segment-entry.ts';
import type { Spool } from '#origin/recording/spool.ts';
import type { UploadQueue } from '#origin/recording/upload-queue.ts';

export type LiveRecordingDeps = {
  readonly clock: Clock;
  readonly spool: Spool;
  readonly queue: UploadQueue;
  /** Told of a mistake of ours; the stream goes on, what comes after it is not recorded. */
  readonly onFailure: (error: unknown, ref: RecordingRef) => void;
};

type RecordedRendition = {
  readonly index: RenditionIndex;
  readonly inits: Map<number, InitSection>;
  /** The first part that is not on its way to the spool yet. */
  next: { msn: number; part: number };
};

/** A recording that goes on, or that the store and the database do not have all of yet. */
export class LiveRecording implements PresentationRecorder {
  readonly ref: RecordingRef;
  readonly wish: RecordingWish;
  readonly beganAtMs: number;
  readonly renditions = new Map<string, RecordedRendition>();
  readonly #deps: LiveRecordingDeps;
  #state: RecordingState | undefined;
  #isStateWritten = false;
  #endedAtMs: number | undefined;
  #hasFailed = false;
  /** Whether its stream was deleted: nothing more is kept of it. */
  isRemoved = false;

  constructor(ref: RecordingRef, wish: RecordingWish, beganAtMs: number, deps: LiveRecordingDeps) {
    this.ref = ref;
    this.wish = wish;
    this.beganAtMs = beganAtMs;
    this.#deps = deps;
  }

  get key(): string {
    return recordingKey(this.ref);
  }

  get state(): RecordingState | undefined {
    return this.#state;
  }

  get endedAtMs(): number | undefined {
    return this.#endedAtMs;
  }

  /** Whether the database lacks what the state says. */
  get isStateDue(): boolean {
    return this.#state !== undefined && !this.#isStateWritten;
  }

  /** Whether the store and the database have all of it. */
  get isWritten(): boolean {
    return this.#isStateWritten && [...this.renditions.values()].every(({ index }) => index.isWritten);
  }

  stateWritten(state: RecordingState): void {
    if (state === this.#state) this.#isStateWritten = true;
  }

  /** Takes over what an earlier process has recorded. */
  restoreState(state: RecordingState): void {
    this.#state = state;
  }

  timelineBegun(state: PresentationState): void {
    this.#guard(() => this.#beginTimeline(state));
  }

  #beginTimeline(state: PresentationState): void {
    this.#state = toRecordingState(state);
    this.#isStateWritten = false;
    const spooled: SpooledState = { beganAtMs: this.beganAtMs, wish: this.wish, state: this.#state };
    if (!this.isRemoved) this.#deps.spool.writeState(this.ref, spooled);
  }

  initStored(renditionId: string, init: InitSection): void {
    this.rendition(renditionId).inits.set(init.timeline, init);
    if (this.isRemoved) return;
    this.#deps.spool.writeInit(this.ref, renditionId, init.timeline, init.bytes);
    this.#deps.queue.push({
      key: initKey(this.ref, renditionId, init.timeline),
      bytes: init.bytes,
      spooled: Promise.resolve(true),
      load: () => Promise.resolve(init.bytes),
      settled: () => undefined,
    });
  }

  changed(renditionId: string, window: RecordedWindow): void {
    if (!this.isRemoved) this.#guard(() => this.#record(renditionId, window));
  }

  #record(renditionId: string, { complete, open }: RecordedWindow): void {
    const rendition = this.rendition(renditionId);
    const first = complete.findLastIndex(({ msn }) => msn < rendition.next.msn) + 1;
    for (const segment of complete.slice(first)) {
      this.#journal(renditionId, rendition, segment);
      this.#complete(renditionId, rendition, segment);
      rendition.next = { msn: segment.msn + 1, part: 0 };
    }
    if (open !== undefined && open.msn >= rendition.next.msn) this.#journal(renditionId, rendition, open);
  }

  /** The live edge must not fail for the recording. */
  #guard(work: () => void): void {
    if (this.#hasFailed) return;
    try {
      work();
    } catch (error) {
      this.#hasFailed = true;
      this.#deps.onFailure(error, this.ref);
    }
  }

  ended(): void {
    this.#endedAtMs ??= this.#deps.clock.nowMs();
  }

  rendition(renditionId: string): RecordedRendition {
    let rendition = this.renditions.get(renditionId);
    if (rendition === undefined) {
      rendition = { index: new RenditionIndex(), inits: new Map(), next: { msn: 0, part: 0 } };
      this.renditions.set(renditionId, rendition);
    }
    return rendition;
  }

  kindOf(renditionId: string): MediaKind {
    const rendition = this.#state?.renditions.find(({ description }) => description.id === renditionId);
    return rendition?.description.kind ?? 'video';
  }

  /** Queues a segment that is on disk only. */
  uploadSpooled(renditionId: string, entry: SegmentEntry): void {
    const place = { ref: this.ref, renditionId, msn: entry.msn };
    this.#deps.queue.pushSpooled({
      key: segmentKey(this.ref, renditionId, entry.msn),
      load: async () => (await this.#deps.spool.read(place))?.bytes,
      settled: (outcome) => this.rendition(renditionId).index.settle(entry.msn, outcome),
    });
  }

  /** Writes the parts of a segment to the spool that are not there yet. */
  #journal(renditionId: string, rendition: RecordedRendition, segment: LiveSegment): void {
    const { msn } = segment;
    const from = rendition.next.msn === msn ? rendition.next.part : 0;
    const place = { ref: this.ref, renditionId, msn };
    segment.parts.slice(from).forEach((part, index) => {
      const origin = from + index === 0 ? { origin: originOf(segment) } : {};
      this.#deps.spool.append(place, { kind: 'part', ...origin, ...partEntry(part) }, part.media?.bytes);
    });
    rendition.next = { msn, part: segment.parts.length };
  }

  #complete(renditionId: string, rendition: RecordedRendition, segment: LiveSegment): void {
    const { spool, queue } = this.#deps;
    const entry = entryOf(segment);
    const place = { ref: this.ref, renditionId, msn: segment.msn };
    spool.append(place, { kind: 'end', digest: entry.digest }, undefined);
    if (segment.body === undefined) {
      rendition.index.add(entry, 'stored');
      return;
    }
    rendition.index.add(entry, 'waiting');
    queue.push({
      key: segmentKey(this.ref, renditionId, segment.msn),
      bytes: segment.body.bytes,
      spooled: spool.holds(place),
      load: async () => (await spool.read(place))?.bytes,
      settled: (outcome) => rendition.index.settle(segment.msn, outcome),
    });
  }
}

function originOf({ origin }: LiveSegment) {
  const { msn, timescale, startUtcMs, discontinuity, discontinuityNumber, init } = origin;
  return {
    msn,
    timescale,
    startUtcMs,
    discontinuity,
    discontinuityNumber,
    initTimeline: init?.timeline ?? null,
  };
}

function partEntry({ durationTicks, independent, media }: LivePart): PartEntry {
  return { durationTicks, independent, bytes: media?.bytes.length ?? 0, digest: media?.digest ?? '' };
}

function entryOf(segment: LiveSegment): SegmentEntry {
  return {
    ...originOf(segment),
    durationTicks: segment.durationTicks,
    bytes: segment.body?.bytes.length ?? 0,
    digest: segment.body?.digest ?? '',
    parts: segment.parts.map(partEntry),
  };
}
