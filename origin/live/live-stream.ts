import type { PartUpload } from '#protocol/ingest/part-upload.ts';
import type { Presentation, TimelineGrant } from '#protocol/ingest/publish-session.ts';
import type { Clock, Timer } from '#runtime/clock.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Logger } from '#runtime/log.ts';
import type { HeldRequests } from '#origin/live/held-requests.ts';
import type { LiveMetrics } from '#origin/live/live-metrics.ts';
import { LivePlayback } from '#origin/live/live-playback.ts';
import { LivePresentation } from '#origin/live/live-presentation.ts';
import type { LiveRendition } from '#origin/live/live-rendition.ts';
import { digestOf } from '#origin/live/live-segment.ts';
import type { LiveSettings } from '#origin/live/live-settings.ts';
import { renditionStatus, type LiveStatus } from '#origin/live/live-status.ts';
import type { MediaMemory } from '#origin/live/media-memory.ts';
import { assertInitBoxes, assertPartBoxes } from '#origin/live/part-boxes.ts';
import type { Candidate } from '#origin/live/part-candidates.ts';
import type { PartOutcome, PlacedOutcome } from '#origin/live/part-placement.ts';
import { comparePositions } from '#origin/live/part-position.ts';
import type { PlaylistSnapshot } from '#origin/live/playlist-snapshot.ts';
import { StreamMemory } from '#origin/live/stream-memory.ts';
import { StreamHolds } from '#origin/live/request-waiters.ts';
import type {
  PresentationRecorder,
  PresentationState,
  RecordingWish,
  RestoredStream,
  StreamImage,
  StreamRecorder,
} from '#origin/live/stream-recorder.ts';
import { RetainedSegments } from '#origin/live/retained-segments.ts';
import { SessionFence, type Writer } from '#origin/live/session-fence.ts';
import { assertPlayable } from '#origin/live/timeline-grid.ts';
import { decideTimeline } from '#origin/live/timeline-decision.ts';
import type { SessionEndReason, TimelineDecision, TimelineInput } from '#origin/live/timeline-input.ts';

/** What a stream shares with all others of the process. */
export type LiveStreamDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: LiveMetrics;
  readonly holds: HeldRequests;
  readonly memory: MediaMemory;
  /** Keeps what is listed; without one nothing outlives the live window. */
  readonly recorder: StreamRecorder | undefined;
  /** Whether no other origin that is alive has the parts of the stream, so that players cannot be sent elsewhere. */
  readonly isLastOrigin: (streamId: string) => boolean;
  /** Makes room by giving up another, ended stream; false when there is none. */
  readonly freeEnded: () => boolean;
  /** Called when the ended playlist has been served long enough. */
  readonly onForgotten: () => void;
};

/**
 * How long the end of a recorded stream stays as it is, so that everybody who watches sees it, before the URLs become
 * those of the recording. Longer than what the newest numbers take to be recorded.
 */
export const HANDOVER_MS = 30_000;
const NOTHING_KEPT: RecordingWish = { dvrWindowMs: 0, retentionMs: 0 };
/** Longest a playlist waits after the broadcaster has said goodbye. */
export const UNPUBLISHED_WINDOW_MAX_MS = 10_000;
/**
 * How long the last parts of a broadcaster who has gone are taken: they are still in the encoder when the ingest reports
 * the end. The gaps begin after it and make up for the time.
 */
export const TAIL_MS = 700;
/** Fewest complete segments a live playlist keeps. */
const SEGMENTS_LISTED_MIN = 6;
/** One stream: its publish session, its presentation of the moment, and the memory of both. */
export class LiveStream {
  readonly id: string;
  readonly playback: LivePlayback;
  readonly #settings: LiveSettings;
  readonly #deps: LiveStreamDeps;
  readonly #holds: StreamHolds;
  readonly #retained = new RetainedSegments();
  #presentation: LivePresentation | undefined;
  readonly #fence = new SessionFence();
  #reconnectWindowMs = 0;
  #liveWindowMs = 0;
  #recorder: PresentationRecorder | undefined;
  #playlistFirstMsn = 0;
  #state: PresentationState | undefined;
  #timelines = 0;
  #isContinued = false;
  readonly #memory: StreamMemory;
  /** Ends the playlist when the broadcaster stays away, or forgets it when it has ended. */
  #timer: Timer | undefined;

  constructor(id: string, settings: LiveSettings, deps: LiveStreamDeps) {
    this.id = id;
    this.#settings = settings;
    this.#deps = deps;
    this.#holds = new StreamHolds(deps.holds, settings.streamWaitersMax);
    this.#memory = new StreamMemory(settings.streamBytesMax, {
      all: deps.memory,
      metrics: deps.metrics,
      freeEnded: deps.freeEnded,
      dropExpired: () => this.#retained.dropExpired(deps.clock.monotonicMs()),
      dropOldest: () => this.#dropOldest(),
    });
    const presentation = (): LivePresentation | undefined => this.#presentation;
    this.playback = new LivePlayback(
      {
        get presentation() {
          return presentation();
        },
        retained: this.#retained,
        recorded: deps.recorder && {
          segment: (...request) => deps.recorder?.segment(id, ...request) ?? Promise.resolve(undefined),
          init: (...request) => deps.recorder?.init(id, ...request) ?? Promise.resolve(undefined),
        },
      },
      deps.clock,
    );
  }

  /** The session that writes the stream, or has written it last. */
  get writer(): Pick<Writer, 'sessionId' | 'fencingToken'> | undefined {
    return this.#fence.writer;
  }

  /** Monotonic time at which the newest part was listed; undefined before the first. */
  get lastPartAtMs(): number | undefined {
    return this.#presentation?.lastPartAtMs;
  }

  get isEnded(): boolean {
    return this.#presentation?.isEnded ?? true;
  }

  /** @throws {ProblemError} 409 `fencing_token_stale`, 410 `session_ended`, 400 `presentation_invalid` */
  beginTimeline(input: TimelineInput): TimelineGrant {
    assertPlayable(input.presentation);
    this.#fence.admitSession(input);
    this.#reconnectWindowMs = input.reconnectWindowMs;
    let presentation = this.#presentation;
    const { firstMsn, isContinued } = decideTimeline(input, {
      presentation,
      lastMsn: this.#lastMsn,
      nowUtcMs: this.#deps.clock.nowMs(),
    });
    if (presentation === undefined || !isContinued) {
      if (presentation !== undefined) this.#replace(presentation);
      this.#recorder = this.#deps.recorder?.begin(this.id, firstMsn, input.recording ?? NOTHING_KEPT);
      this.#playlistFirstMsn = firstMsn;
      presentation = this.#newPresentation(input.presentation, input.liveWindowMs);
    }
    this.#liveWindowMs = input.liveWindowMs;
    this.#isContinued = isContinued;
    this.#timer?.cancel();
    // A timeline has the number of its first segment: it grows, also over restarts, and no init segment's URL comes twice.
    this.#fence.beginTimeline(firstMsn);
    this.#timelines += 1;
    this.#presentation = presentation;
    presentation.beginTimeline(input.presentation, firstMsn, input.anchorUtcMs, input.assigned);
    this.#state = this.#stateOf(presentation, input);
    this.#recorder?.timelineBegun(this.#state);
    this.#deps.logger.info({ streamId: this.id, firstMsn, isContinued }, 'timeline begun');
    return { timeline: firstMsn, firstMsn };
  }

  /**
   * Goes on where another process was stopped: with the same segments under the same numbers, in the same session and
   * timeline. Only before the first timeline.
   */
  restore(restored: RestoredStream): void {
    const { state, firstMsn, recorder } = restored;
    const { timeline } = state;
    this.#state = state;
    this.#reconnectWindowMs = state.reconnectWindowMs;
    this.#liveWindowMs = state.liveWindowMs;
    this.#recorder = recorder;
    this.#playlistFirstMsn = firstMsn;
    this.#fence.restore({ ...state.writer, timeline: timeline.firstMsn });
    this.#timelines = 1;
    this.#isContinued = timeline.firstMsn !== firstMsn;
    this.#presentation = this.#newPresentation(timeline.presentation, state.liveWindowMs);
    const inMemory = restored.renditions.flatMap(({ complete, open }) => [
      ...complete,
      ...(open ? [open] : []),
    ]);
    this.#memory.add(inMemory.reduce((sum, { mediaBytes }) => sum + mediaBytes, 0));
    this.#presentation.restore(restored, this.#deps.clock.nowMs());
    this.#deps.logger.info({ streamId: this.id, lastMsn: this.#lastMsn }, 'stream restored');
  }

  /** Everything that is listed now, for another origin to go on with; undefined when nothing can go on. */
  get image(): StreamImage | undefined {
    const [presentation, state] = [this.#presentation, this.#state];
    if (presentation === undefined || state === undefined || presentation.isEnded) return undefined;
    const renditions = [...presentation.renditions.values()].map((rendition) => rendition.image);
    return { streamId: this.id, firstMsn: this.#playlistFirstMsn, state, renditions };
  }

  #stateOf(presentation: LivePresentation, input: TimelineInput): PresentationState {
    const { sessionId, fencingToken } = input;
    return {
      constants: presentation.constants,
      liveWindowMs: this.#liveWindowMs,
      reconnectWindowMs: this.#reconnectWindowMs,
      writer: { sessionId, fencingToken },
      timeline: {
        firstMsn: this.#fence.timeline,
        presentation: input.presentation,
        beganUtcMs: this.#deps.clock.nowMs(),
        ...presentation.timelineStart,
      },
      renditions: [...presentation.renditions.values()].map(({ description, isRetired }) => ({
        description,
        isRetired,
      })),
    };
  }

  /** What was decided about the newest timeline, for the other origins that hold the stream. */
  get timelineDecision(): TimelineDecision | undefined {
    if (this.#presentation === undefined) return undefined;
    return {
      firstMsn: this.#fence.timeline,
      isContinued: this.#isContinued,
      ...this.#presentation.timelineStart,
    };
  }

  /** See `LiveStreams.sessionEnded`. */
  sessionEnded(sessionId: string, reason: SessionEndReason): void {
    if (!this.#fence.isNewest(sessionId) || this.isEnded) return;
    if (this.#fence.isOver && reason !== 'revoked') return;
    const windowMs =
      reason === 'unpublished'
        ? Math.min(this.#reconnectWindowMs, UNPUBLISHED_WINDOW_MAX_MS)
        : this.#reconnectWindowMs;
    this.#deps.logger.info({ streamId: this.id, reason, windowMs }, 'session ended');
    this.#timer?.cancel();
    if (reason === 'revoked') return this.end();
    const idleMs = this.#deps.clock.monotonicMs() - (this.#presentation?.lastPartAtMs ?? 0);
    const tailMs = Math.max(0, TAIL_MS - idleMs);
    if (tailMs === 0) return this.#afterTail(windowMs);
    this.#fence.closeAfterTail();
    this.#timer = this.#deps.clock.after(tailMs, () => this.#afterTail(windowMs - tailMs));
  }

  #afterTail(windowMs: number): void {
    this.#fence.close();
    if (windowMs <= 0) return this.end();
    this.#timer = this.#deps.clock.after(windowMs, () => this.end());
    this.#presentation?.startGaps();
  }

  /** Adds EXT-X-ENDLIST and answers everybody; the playlist stays for `endedRetentionMs`. */
  end(): void {
    this.#fence.close();
    if (this.isEnded) return;
    this.#timer?.cancel();
    this.#presentation?.end();
    this.#forgetAfter(this.#settings.endedRetentionMs);
    this.#deps.logger.info({ streamId: this.id, lastMsn: this.#lastMsn }, 'playlist ended');
  }

  /** Once the recording has it all, it takes over. */
  #forgetAfter(leftMs: number): void {
    const waitMs = this.#recorder === undefined ? leftMs : Math.min(leftMs, HANDOVER_MS);
    this.#timer = this.#deps.clock.after(waitMs, () => {
      const isKept = this.#deps.recorder?.isKept(this.id, this.#playlistFirstMsn) === true;
      if (isKept || leftMs <= waitMs) this.#deps.onForgotten();
      else this.#forgetAfter(leftMs - waitMs);
    });
  }

  /** Ends it and gives its memory back; the object is of no use afterwards. */
  dispose(): void {
    this.end();
    this.stop();
    this.#memory.add(-this.#memory.bytes);
  }

  /** Gives its memory back without an end: other origins go on with the stream. */
  abandon(): void {
    this.stop();
    this.#memory.add(-this.#memory.bytes);
  }

  /** Stops every timer and changes nothing else: players shall find the stream elsewhere, not see its end. */
  stop(): void {
    this.#timer?.cancel();
    this.#presentation?.stop();
  }

  /**
   * Checks whether the writer may write to the rendition at all.
   *
   * @throws {ProblemError} 404, 409, 410
   */
  assertWriter(renditionId: string, writer: Writer): void {
    this.#admit(renditionId, writer);
  }

  /**
   * Checks everything about a part that its headers tell, so that a body that would be refused is not read.
   *
   * @throws {ProblemError} 404, 409, 410, 422
   */
  assertAcceptable(renditionId: string, upload: PartUpload): void {
    const { rendition, presentation } = this.#admit(renditionId, upload);
    presentation.assertAcceptable(rendition, upload);
  }

  /**
   * Stores and lists a part.
   *
   * @param body empty when the upload says that the part does not exist
   * @param expectedDigest SHA-256 of the body, base64url, if the sender said one
   * @throws {ProblemError} 404, 409, 410, 422, 503 `live_window_full`; nothing has changed then
   */
  storePart(
    renditionId: string,
    upload: PartUpload,
    body: Uint8Array<ArrayBuffer>,
    expectedDigest?: string,
  ): PartOutcome {
    const { rendition, presentation } = this.#admit(renditionId, upload);
    const digest = checkedDigest(body, expectedDigest);
    if (upload.gap && body.length > 0)
      throw new ProblemError(422, 'part_invalid', 'A part that does not exist has no body.');
    presentation.assertAcceptable(rendition, upload);
    if (!upload.gap) assertPartBoxes(body, upload, rendition.init(upload.timeline)?.bytes);
    if (comparePositions(upload, rendition.window.next) >= 0) this.#memory.makeRoom(body.length);
    const media = upload.gap ? undefined : { bytes: body, digest };
    const outcome = presentation.storePart(rendition, upload, media);
    if (outcome === 'repeated' || outcome === 'superseded' || outcome === 'waiting')
      this.#deps.metrics.partsStored.inc({ outcome });
    return outcome;
  }

  #onListed(
    rendition: LiveRendition,
    { upload, media, arrivedAtMs }: Candidate,
    outcome: PlacedOutcome,
  ): void {
    this.#deps.metrics.partsStored.inc({ outcome });
    if (outcome !== 'stored') return;
    this.#memory.add(media?.bytes.length ?? 0);
    const { clock } = this.#deps;
    const waitedMs = clock.monotonicMs() - arrivedAtMs;
    this.#deps.metrics.partWait.observe(waitedMs / 1000);
    rendition.storeLatencyMs = Math.max(0, clock.nowMs() - upload.arrivalUtcMs);
    this.#deps.metrics.partStoreLatency.observe(rendition.storeLatencyMs / 1000);
  }

  /** Stores the init segment of the timeline. @throws {ProblemError} 404, 409, 410, 422 */
  storeInit(
    renditionId: string,
    writer: Writer & Pick<PartUpload, 'pipeline'>,
    body: Uint8Array<ArrayBuffer>,
    expectedDigest?: string,
  ): PartOutcome {
    const { rendition, presentation } = this.#admit(renditionId, writer);
    const digest = checkedDigest(body, expectedDigest);
    assertInitBoxes(body);
    const { kind } = rendition.description;
    const init = { bytes: body, digest, timeline: writer.timeline, kind };
    return presentation.storeInit(rendition, init, writer.pipeline);
  }

  /** The newest version of a media playlist, whether or not players may see it yet. */
  snapshot(renditionId: string): PlaylistSnapshot | undefined {
    return this.#presentation?.renditions.get(renditionId)?.snapshot;
  }

  get status(): LiveStatus {
    const lastPart = this.#presentation?.lastPart;
    const renditions = [...(this.#presentation?.renditions.values() ?? [])];
    return {
      state: this.isEnded ? 'ended' : this.#fence.isOver ? 'reconnecting' : 'live',
      lastMsn: this.#lastMsn,
      lastPart: lastPart?.msn === this.#lastMsn ? lastPart.part : -1,
      isStale: this.#presentation?.isStale ?? false,
      renditions: renditions.filter(({ isRetired }) => !isRetired).map(renditionStatus),
      waiters: this.#holds.count,
      timelines: this.#timelines,
      windowBytes: this.#memory.bytes,
    };
  }

  get #lastMsn(): number {
    return Math.max(this.#fence.timeline, this.#presentation?.lastPart?.msn ?? 0);
  }

  #admit(renditionId: string, writer: Writer): { rendition: LiveRendition; presentation: LivePresentation } {
    this.#fence.assertMayWrite(writer);
    const presentation = this.#presentation;
    const rendition = presentation?.renditions.get(renditionId);
    if (presentation === undefined || rendition === undefined || rendition.isRetired)
      throw new ProblemError(404, 'rendition_not_found', 'The timeline has no such rendition.');
    return { rendition, presentation };
  }

  #newPresentation(presentation: Presentation, liveWindowMs: number): LivePresentation {
    const { targetDurationS, partTargetMs } = presentation;
    return new LivePresentation(
      presentation,
      {
        constants: { targetDurationS, partTargetMs },
        windowLength: {
          // @spec rfc8216bis §6.2.2: never less than three target durations
          durationMs: Math.max(liveWindowMs, targetDurationS * 3000),
          segmentsMin: SEGMENTS_LISTED_MIN,
        },
        holds: this.#holds,
        metrics: this.#deps.metrics,
        retain: (renditionId, segment, untilMs) => this.#retained.add(renditionId, segment, untilMs),
        recorder: this.#recorder,
        onListed: (...listed) => this.#onListed(...listed),
        isLastOrigin: () => this.#deps.isLastOrigin(this.id),
        onWaitingBytes: (bytes) => this.#memory.add(bytes),
      },
      this.#deps.clock,
    );
  }

  /** Ends a presentation whose URLs another one takes over; what it listed stays downloadable for a while. */
  #replace(presentation: LivePresentation): void {
    presentation.end();
    const nowMs = this.#deps.clock.monotonicMs();
    for (const rendition of presentation.renditions.values()) rendition.retainAll(nowMs);
  }

  /** Gives up what has been listed longest, because memory is short; undefined when all of it is needed. */
  #dropOldest(): number | undefined {
    const retained = this.#retained.dropOldest();
    if (retained !== undefined) return retained.mediaBytes;
    const freed = [...(this.#presentation?.renditions.values() ?? [])].flatMap(
      (rendition) => rendition.evictOldest() ?? [],
    );
    return freed.length === 0 ? undefined : freed.reduce((sum, bytes) => sum + bytes, 0);
  }
}

function checkedDigest(body: Uint8Array<ArrayBuffer>, expected: string | undefined): string {
  const digest = digestOf(body);
  if (expected !== undefined && expected !== digest)
    throw new ProblemError(422, 'part_invalid', 'The body does not have the digest that was sent.');
  return digest;
}
