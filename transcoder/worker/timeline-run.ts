import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import type { IngestPacket } from '#transcoder/ingest/incoming-publish.ts';
import { TranscodeError, toTranscodeError, type TranscodeErrorCode } from '#transcoder/transcode-error.ts';
import type { TranscodeMetrics } from '#transcoder/transcode-metrics.ts';
import { ArrivalLog } from '#transcoder/cutter/arrival-log.ts';
import type { CutInit, CutPart } from '#transcoder/cutter/cut-part.ts';
import { INPUT_OFFSET_MS } from '#transcoder/ladder/ffmpeg-arguments.ts';
import { FfmpegEncoder, type EncoderLimits } from '#transcoder/ladder/ffmpeg-encoder.ts';
import { FLV_TAG, FLV_TIMESTAMP_MAX_MS, flvHeader, flvTag } from '#transcoder/ladder/flv-writer.ts';
import type { LadderPlan, PlannedRendition } from '#transcoder/ladder/ladder-plan.ts';
import type { SourceProfile } from '#transcoder/ladder/source-profile.ts';
import type { GapPart, PartPublisher } from '#transcoder/publisher/part-publisher.ts';
import { describePresentation } from '#transcoder/worker/presentation.ts';
import { TimelineTracks } from '#transcoder/worker/timeline-tracks.ts';
import { TimelineWatch, type WatchLimits } from '#transcoder/worker/timeline-watch.ts';

/** Limits of one timeline. */
export type TimelineLimits = {
  readonly encoder: EncoderLimits;
  readonly watch: WatchLimits;
  /** Parts cut before the origin has given out the timeline. */
  readonly pendingPartsMax: number;
  /** How long the end of a timeline may wait for its last parts to be stored. */
  readonly drainDeadlineMs: number;
};

/** What a timeline is made from. */
export type TimelineOptions = {
  readonly plan: LadderPlan;
  readonly source: SourceProfile;
  /** Sent to the encoder before the first frame. */
  readonly sequenceHeaders: readonly IngestPacket[];
  readonly publisher: PartPublisher;
  readonly limits: TimelineLimits;
};
type Deps = { readonly clock: Clock; readonly logger: Logger; readonly metrics: TranscodeMetrics };
type MediaPacket = IngestPacket & { kind: 'video' | 'audio' };
/** The timestamps of media time 0. */
type MediaBase = { readonly decodingMs: number; readonly presentationMs: number };

const CHECK_INTERVAL_MS = 250;
/** After these the origin takes no part of the timeline any more. */
const NOTHING_TAKEN: ReadonlySet<TranscodeErrorCode> = new Set([
  'session_over',
  'origin_refused',
  'timeline_lost',
]);

/**
 * One timeline from its first frame to its last stored part: feeds the encoder, cuts what comes out, asks the origin for
 * the numbers and publishes. Ends by {@link TimelineRun.finish} or by the first error; either way what is whole is
 * published and all renditions end at the same part.
 */
export class TimelineRun {
  /** Resolves when the timeline is over, its encoder gone and its last parts stored or given up. Never rejects. */
  readonly ended: Promise<{ readonly error: TranscodeError | undefined }>;
  readonly #options: TimelineOptions;
  readonly #deps: Deps;
  readonly #tracks: TimelineTracks;
  readonly #watch: TimelineWatch;
  readonly #arrivals = new ArrivalLog();
  readonly #abort = new AbortController();
  readonly #inits = new Map<string, CutInit>();
  readonly #stop = Promise.withResolvers<TranscodeError | undefined>();
  #pending: (() => void)[] | undefined = [];
  #beginning: Promise<void> | undefined;
  #encoder: FfmpegEncoder | undefined;
  /** FLV for an encoder that is just being started. */
  #early: Uint8Array[] = [];
  #earlyBytes = 0;
  #base: MediaBase | undefined;
  #anchorUtcMs = Infinity;
  #stopped = false;
  #backlogReported = 0;
  #checkTimer: Timer | undefined;

  constructor(options: TimelineOptions, deps: Deps) {
    this.#options = options;
    this.#deps = deps;
    this.#watch = new TimelineWatch(options.limits.watch, options.plan.renditions, deps.clock.monotonicMs());
    this.#tracks = new TimelineTracks(options.plan, options.source, {
      init: (init) => this.#takeInit(init),
      part: (part) => this.#takePart(part),
      gap: (gap) => this.#publish(() => options.publisher.publishGap(gap satisfies GapPart)),
      progress: (id, mediaMs) => this.#watch.output(id, mediaMs, deps.clock.monotonicMs()),
      arrivalBefore: (rendition, mediaMs) => this.#arrivalBefore(rendition, mediaMs),
    });
    const encoder = this.#startEncoder();
    this.ended = this.#run(encoder);
    this.#scheduleCheck();
  }

  /** Process id of the encoder, for tests and measurements. */
  get encoderPid(): number | undefined {
    return this.#encoder?.pid;
  }

  /** Whether it takes no more packets: it is ending. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** Takes the next packet. Never throws: a failure ends the timeline. */
  write(packet: MediaPacket): void {
    if (this.#stopped || packet.sequenceHeader) return;
    try {
      this.#write(packet);
    } catch (error) {
      this.fail(toTranscodeError(error, 'encoder_exited'));
    }
  }

  /** The input has ended: what is in the encoder still comes out. */
  finish(): void {
    this.#end(undefined);
  }

  /** Ends the timeline by an error; the first one counts. */
  fail(error: TranscodeError): void {
    this.#end(error);
  }

  #end(error: TranscodeError | undefined): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#stop.resolve(error);
  }

  async #startEncoder(): Promise<FfmpegEncoder | undefined> {
    const { plan, limits } = this.#options;
    if (!plan.renditions.some((rendition) => rendition.mode === 'encode')) return undefined;
    const reader = {
      data: (renditionId: string, chunk: Uint8Array) => this.#takeBytes(renditionId, chunk),
      end: () => undefined,
    };
    const encoder = await FfmpegEncoder.start(plan, reader, limits.encoder, this.#deps);
    this.#deps.metrics.encoders.inc();
    void encoder.finished.then(({ error }) => {
      this.#deps.metrics.encoders.dec();
      if (!this.#stopped)
        this.fail(error ?? new TranscodeError('encoder_exited', 'ffmpeg ended while input went on'));
    });
    this.#encoder = encoder;
    for (const bytes of this.#early) encoder.write(bytes);
    this.#early = [];
    return encoder;
  }

  async #run(starting: Promise<FfmpegEncoder | undefined>): Promise<{ error: TranscodeError | undefined }> {
    starting.catch((error: unknown) => this.fail(toTranscodeError(error, 'encoder_unusable')));
    const error = await this.#stop.promise;
    this.#checkTimer?.cancel();
    this.#reportBacklog(0);
    const encoder = await starting.catch(() => undefined);
    if (error === undefined) encoder?.endInput();
    else encoder?.kill();
    await encoder?.finished;
    if (error !== undefined && NOTHING_TAKEN.has(error.code)) this.#abort.abort();
    else await this.#close();
    return { error };
  }

  /** Publishes what is left. Errors in here change nothing any more: the timeline is over. */
  async #close(): Promise<void> {
    const { publisher, limits } = this.#options;
    try {
      this.#tracks.finish();
    } catch (error) {
      this.#deps.logger.warn({ err: error }, 'the end of a timeline could not be cut');
    }
    await this.#beginning;
    await publisher.drain(limits.drainDeadlineMs);
    this.#abort.abort();
  }

  #write(packet: MediaPacket): void {
    const { source } = this.#options;
    if (source[packet.kind] === undefined)
      throw new TranscodeError('track_joined', `${packet.kind} comes that was not there before`);
    const presentationMs = packet.dtsMs + (packet.kind === 'video' ? packet.compositionOffsetMs : 0);
    const base = this.#base ?? this.#begin(packet, presentationMs);
    if (base === undefined) return;
    const mediaMs = presentationMs - base.presentationMs;
    this.#anchorUtcMs = Math.min(this.#anchorUtcMs, packet.arrivalUtcMs - (packet.dtsMs - base.decodingMs));
    this.#arrivals.add(packet.kind, mediaMs, packet.arrivalUtcMs);
    this.#watch.input(packet.kind, mediaMs, this.#deps.clock.monotonicMs());
    this.#feed(packet, base.presentationMs);
    if (packet.kind === 'video') this.#tracks.pushSource(packet, packet.dtsMs - base.decodingMs, mediaMs);
  }

  /** The first frame is media time 0: a key frame, or without video any audio frame. */
  #begin(packet: MediaPacket, presentationMs: number): MediaBase | undefined {
    const { source, sequenceHeaders } = this.#options;
    if (source.video !== undefined && !(packet.kind === 'video' && packet.keyframe)) return undefined;
    this.#base = { decodingMs: packet.dtsMs, presentationMs };
    this.#send(flvHeader({ video: source.video !== undefined, audio: source.audio !== undefined }));
    for (const header of sequenceHeaders) {
      if (header.kind !== 'video' && header.kind !== 'audio') continue;
      if (source[header.kind] !== undefined) this.#feed({ ...header, dtsMs: packet.dtsMs }, presentationMs);
    }
    return this.#base;
  }

  #feed(packet: MediaPacket, baseMs: number): void {
    const timestampMs = packet.dtsMs - baseMs + INPUT_OFFSET_MS;
    // Sound of long before the first picture; the encoder would throw it away.
    if (timestampMs < 0) return;
    if (timestampMs > FLV_TIMESTAMP_MAX_MS)
      throw new TranscodeError('timeline_too_long', 'the timestamps have reached the end of their range');
    this.#send(flvTag(FLV_TAG[packet.kind], timestampMs, packet.flvBody));
  }

  #send(bytes: Uint8Array): void {
    if (this.#encoder !== undefined) return this.#encoder.write(bytes);
    this.#earlyBytes += bytes.length;
    if (this.#earlyBytes > this.#options.limits.encoder.backlogBytesMax)
      throw new TranscodeError('encoder_backlog', `${this.#earlyBytes} bytes wait for ffmpeg to start`);
    this.#early.push(bytes);
  }

  #takeBytes(renditionId: string, chunk: Uint8Array): void {
    try {
      this.#tracks.pushEncoded(renditionId, chunk);
    } catch (error) {
      this.fail(toTranscodeError(error, 'fragment_invalid'));
    }
  }

  #takeInit(init: CutInit): void {
    this.#inits.set(init.renditionId, init);
    const { renditions } = this.#options.plan;
    // The copied track's init is there before any frame; its own frames then decide when there is an anchor.
    if (renditions.every((rendition) => this.#inits.has(rendition.id)) && this.#base !== undefined)
      this.#beginning ??= this.#beginTimeline();
  }

  async #beginTimeline(): Promise<void> {
    const { plan, publisher } = this.#options;
    try {
      const request = {
        anchorUtcMs: Math.round(this.#anchorUtcMs),
        presentation: describePresentation(plan, this.#inits),
      };
      const grant = await publisher.beginTimeline(request, plan.renditions, this.#abort.signal);
      this.#deps.logger.info({ ...grant, renditions: plan.renditions.map(({ id }) => id) }, 'timeline begun');
      for (const init of this.#inits.values()) publisher.publishInit(init);
      const pending = this.#pending ?? [];
      this.#pending = undefined;
      for (const publish of pending) publish();
    } catch (error) {
      this.fail(toTranscodeError(error, 'origin_unreachable'));
    }
  }

  #takePart(part: CutPart): void {
    const kind = this.#kindOf(part.renditionId);
    this.#deps.metrics.parts.inc({ kind });
    const cutMs = this.#deps.clock.nowMs() - part.arrivalUtcMs;
    this.#deps.metrics.partCutLatency.observe({ kind }, Math.max(0, cutMs) / 1000);
    this.#publish(() => this.#options.publisher.publishPart(part, kind));
    if (this.#base !== undefined && this.#inits.size === this.#options.plan.renditions.length)
      this.#beginning ??= this.#beginTimeline();
  }

  #publish(publish: () => void): void {
    if (this.#pending === undefined) return publish();
    if (this.#pending.length >= this.#options.limits.pendingPartsMax)
      return this.fail(
        new TranscodeError('origin_unreachable', `${this.#pending.length} parts wait for their timeline`),
      );
    this.#pending.push(publish);
  }

  #arrivalBefore(rendition: PlannedRendition, endMs: number): number {
    // Source timestamps lie up to half a frame beside the grid.
    const slackMs = rendition.kind === 'video' ? (rendition.frameTicks * 500) / rendition.timescale : 1;
    return this.#arrivals.lastBefore(rendition.kind, endMs - slackMs) ?? this.#deps.clock.nowMs();
  }

  #kindOf(renditionId: string): 'video' | 'audio' {
    return this.#options.plan.renditions.find(({ id }) => id === renditionId)?.kind ?? 'video';
  }

  /** The gauge is the sum over all sessions: each adds its difference. */
  #reportBacklog(bytes: number): void {
    this.#deps.metrics.encoderBacklogBytes.inc(bytes - this.#backlogReported);
    this.#backlogReported = bytes;
  }

  #scheduleCheck(): void {
    this.#checkTimer = this.#deps.clock.after(CHECK_INTERVAL_MS, () => {
      if (this.#stopped) return;
      const { metrics, clock } = this.#deps;
      metrics.encoderLag.observe(this.#watch.lagMs() / 1000);
      this.#reportBacklog(this.#encoder?.backlogBytes ?? 0);
      const wrong = this.#watch.check(clock.monotonicMs());
      if (wrong === undefined) this.#scheduleCheck();
      else this.fail(wrong);
    });
  }
}
