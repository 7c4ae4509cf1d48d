import { randomUUID } from 'node:crypto';
import type { PartUpload } from '#protocol/ingest/part-upload.ts';
import type { Presentation, RenditionDescription, TimelineGrant } from '#protocol/ingest/publish-session.ts';
import { FakeClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics, type Metrics } from '#runtime/metrics.ts';
import { DEFAULT_LIVE_SETTINGS, type LiveSettings } from '#origin/live/live-settings.ts';
import {
  LiveStreams,
  type LiveStream,
  type LiveStreamsDeps,
  type TimelineInput,
} from '#origin/live/live-streams.ts';
import type { PartOutcome } from '#origin/live/part-placement.ts';
import { makeInit, makePart, makePresentation, partTicks } from '#origin/live/testing/synthetic-media.ts';

/** A live window on a clock that stands still. */
export type TestOrigin = {
  readonly streams: LiveStreams;
  readonly clock: FakeClock;
  readonly metrics: Metrics;
};

export function createTestOrigin(
  settings: Partial<LiveSettings> = {},
  deps: Pick<LiveStreamsDeps, 'isLastOrigin'> = {},
): TestOrigin {
  const clock = new FakeClock();
  const metrics = createMetrics('test');
  const streams = new LiveStreams(
    { ...DEFAULT_LIVE_SETTINGS, ...settings },
    { clock, metrics, logger: createLogger('test', 'silent'), ...deps },
  );
  return { streams, clock, metrics };
}

export type PublisherOptions = {
  readonly streamId?: string;
  readonly presentation?: Presentation;
  readonly fencingToken?: number;
  readonly reconnectWindowMs?: number;
  readonly liveWindowMs?: number;
  readonly lastMsnFloor?: number;
};

/** Sample bytes of a part, by rendition. */
const MEDIA_BYTES = 512;

/** A publish session that writes as a transcoder would, in order and on the grid, on behalf of a test. */
export class TestPublisher {
  readonly streamId: string;
  readonly sessionId = randomUUID();
  readonly fencingToken: number;
  presentation: Presentation;
  grant: TimelineGrant = { timeline: 0, firstMsn: 0 };
  readonly #origin: TestOrigin;
  readonly #options: PublisherOptions;
  /** Cells published so far. */
  #cell = 0;

  constructor(origin: TestOrigin, options: PublisherOptions = {}) {
    this.#origin = origin;
    this.#options = options;
    this.streamId = options.streamId ?? 'show';
    this.fencingToken = options.fencingToken ?? 1;
    this.presentation = options.presentation ?? makePresentation();
  }

  get stream(): LiveStream {
    const stream = this.#origin.streams.get(this.streamId);
    if (stream === undefined) throw new Error(`${this.streamId} is not live`);
    return stream;
  }

  get cellMs(): number {
    const { segmentDuration, partsPerSegment } = this.presentation;
    return (segmentDuration.ticks * 1000) / segmentDuration.timescale / partsPerSegment;
  }

  /** MSN and index of the next part. */
  get next(): { msn: number; part: number } {
    const { partsPerSegment } = this.presentation;
    return {
      msn: this.grant.firstMsn + Math.floor(this.#cell / partsPerSegment),
      part: this.#cell % partsPerSegment,
    };
  }

  /** Begins a timeline and puts the init segments. */
  begin(input: Partial<TimelineInput> = {}): this {
    this.presentation = input.presentation ?? this.presentation;
    this.grant = this.#origin.streams.beginTimeline({
      streamId: this.streamId,
      sessionId: this.sessionId,
      fencingToken: this.fencingToken,
      anchorUtcMs: this.#origin.clock.nowMs(),
      presentation: this.presentation,
      lastMsnFloor: this.#options.lastMsnFloor ?? 0,
      reconnectWindowMs: this.#options.reconnectWindowMs ?? 60_000,
      liveWindowMs: this.#options.liveWindowMs ?? 30_000,
      ...input,
    });
    this.#cell = 0;
    for (const rendition of this.presentation.renditions) this.putInit(rendition);
    return this;
  }

  putInit(rendition: RenditionDescription): PartOutcome {
    const { timeline } = this.grant;
    const writer = { sessionId: this.sessionId, fencingToken: this.fencingToken, timeline };
    return this.stream.storeInit(rendition.id, writer, makeInit(rendition, timeline));
  }

  /** Lets a cell pass, then puts that part of all renditions, or of those named. */
  putCells(count: number, renditionIds?: readonly string[]): this {
    for (let cell = 0; cell < count; cell++) {
      this.#origin.clock.advance(this.cellMs);
      for (const rendition of this.presentation.renditions)
        if (renditionIds === undefined || renditionIds.includes(rendition.id)) this.put(rendition.id);
      this.#cell += 1;
    }
    return this;
  }

  /** Lets cells pass in which nothing arrives. */
  loseCells(count: number): this {
    this.#origin.clock.advance(this.cellMs * count);
    this.#cell += count;
    return this;
  }

  putSegments(count: number): this {
    return this.putCells(count * this.presentation.partsPerSegment);
  }

  /** Puts one part: the next one unless said otherwise. */
  put(renditionId: string, changes: Partial<PartUpload> = {}, body?: Uint8Array<ArrayBuffer>): PartOutcome {
    const upload = this.upload(renditionId, changes);
    return this.stream.storePart(renditionId, upload, body ?? this.body(renditionId, upload));
  }

  /** The headers of a part: the next one unless said otherwise. */
  upload(renditionId: string, changes: Partial<PartUpload> = {}): PartUpload {
    const { partsPerSegment } = this.presentation;
    const { msn, part } = { ...this.next, ...changes };
    const cell = (msn - this.grant.firstMsn) * partsPerSegment + part;
    const rendition = this.rendition(renditionId);
    return {
      sessionId: this.sessionId,
      fencingToken: this.fencingToken,
      timeline: this.grant.timeline,
      msn,
      part,
      ...partTicks(this.presentation, rendition, Math.max(0, cell)),
      independent: rendition.kind === 'audio' || part === 0,
      last: part === partsPerSegment - 1,
      gap: false,
      arrivalUtcMs: Math.round(this.#origin.clock.nowMs()) - 50,
      ...changes,
    };
  }

  body(renditionId: string, upload: PartUpload): Uint8Array<ArrayBuffer> {
    if (upload.gap) return new Uint8Array();
    const { startTicks, durationTicks, independent } = upload;
    const label = `${renditionId} ${upload.msn}.${upload.part}`;
    return makePart({ startTicks, durationTicks, independent, label, mediaBytes: MEDIA_BYTES });
  }

  rendition(renditionId: string): RenditionDescription {
    const rendition = this.presentation.renditions.find(({ id }) => id === renditionId);
    if (rendition === undefined) throw new Error(`no rendition ${renditionId}`);
    return rendition;
  }

  /** The text of a media playlist as it is now. */
  playlist(renditionId: string): string {
    return textOf(this.#origin, this.streamId, renditionId);
  }
}

/** The text of a media playlist as it is now, whoever publishes. */
export function textOf({ streams }: TestOrigin, streamId: string, renditionId: string): string {
  const snapshot = streams.get(streamId)?.snapshot(renditionId);
  if (snapshot === undefined) throw new Error(`${streamId} has no rendition ${renditionId}`);
  return new TextDecoder().decode(snapshot.rendered('full').identity);
}
