import type { Clock } from '#runtime/clock.ts';
import {
  AUDIO_BODY_HEADER_BYTES,
  classifyAudio,
  classifyVideo,
  VIDEO_BODY_HEADER_BYTES,
} from './flv-body.ts';
import type { IngestPacket } from './incoming-publish.ts';
import type { IngestLimits } from './ingest-settings.ts';
import { isSameVideo, readAudioHeader, readVideoHeader, type VideoHeader } from './sequence-headers.ts';
import { announces, type MetadataValues } from './stream-metadata.ts';
import { Timeline, TimestampUnwrapper, type Placement, type Track } from './timeline.ts';

/** A publisher whose media cannot be made into timelines. */
export class SequencerError extends Error {
  override readonly name = 'SequencerError';
  readonly code: 'timeline_breaks_exceeded' | 'keyframe_missing';

  constructor(code: 'timeline_breaks_exceeded' | 'keyframe_missing', message: string) {
    super(message);
    this.code = code;
  }
}

export type DropReason = 'before_keyframe' | 'no_header' | 'early' | 'ignored';

/** What a {@link PacketSequencer} reports besides packets. */
export type SequencerObserver = {
  /**
   * A packet for the readers, in order. The body of a frame is a view that lives for the call only.
   *
   * @param prelude given when a reader may begin at this packet: what it must have read before
   */
  onPacket(packet: IngestPacket, prelude: readonly IngestPacket[] | undefined): void;
  onDropped(reason: DropReason): void;
  onClamped(): void;
};

/** The headers a publisher has sent, kept when its publish is taken up again on the same connection. */
export type StreamHeaders = {
  readonly metadata: MetadataValues | undefined;
  /** FLV bodies. */
  readonly video: Uint8Array | undefined;
  readonly audio: Uint8Array | undefined;
};

type MediaHeader = { readonly body: Uint8Array };
type Running = {
  readonly timeline: Timeline;
  readonly hasVideo: boolean;
  /** Audio was there or promised when the timeline began, so that it may come without a break. */
  readonly expectsAudio: boolean;
  restartMs: number;
};
type Waiting = { readonly sinceMs: number; videoArrived: boolean };

const BREAK_WINDOW_MS = 60_000;
/** Sound can be joined anywhere; a place to begin every so often keeps the backlog short. */
const AUDIO_RESTART_INTERVAL_MS = 2_000;

/**
 * Makes the messages of one publisher into {@link IngestPacket}s: each timeline begins with the metadata, the sequence
 * headers and the first key frame (or, without video, the first sound) at 0 and goes on without a jump; what cannot go
 * on ends it with a `break`. Within a timeline a track is there if its sequence header came before the first frame;
 * audio may also follow later when the metadata promised it.
 */
export class PacketSequencer {
  readonly #limits: IngestLimits;
  readonly #clock: Clock;
  readonly #observer: SequencerObserver;
  readonly #unwrapper = new TimestampUnwrapper();
  readonly #breaksMs: number[] = [];
  /** What is added to a track's timestamps because its clock is not the other track's. */
  readonly #correctionsMs: Record<Track, number> = { video: 0, audio: 0 };
  #metadata: MetadataValues | undefined;
  #videoHeader: MediaHeader | undefined;
  #audioHeader: MediaHeader | undefined;
  #videoInfo: VideoHeader | undefined;
  #audioCodec: string | undefined;
  #state: Running | Waiting;

  constructor(limits: IngestLimits, clock: Clock, observer: SequencerObserver, headers?: StreamHeaders) {
    this.#limits = limits;
    this.#clock = clock;
    this.#observer = observer;
    this.#state = { sinceMs: clock.monotonicMs(), videoArrived: false };
    this.#metadata = headers?.metadata;
    if (headers?.video !== undefined) this.#setVideoHeader(headers.video);
    if (headers?.audio !== undefined) this.#setAudioHeader(headers.audio);
  }

  get headers(): StreamHeaders {
    return { metadata: this.#metadata, video: this.#videoHeader?.body, audio: this.#audioHeader?.body };
  }

  /** What the sequence headers say; undefined while there are none. */
  get videoInfo(): VideoHeader | undefined {
    return this.#videoInfo;
  }

  get audioCodec(): string | undefined {
    return this.#audioCodec;
  }

  /** Takes the encoder's onMetaData. */
  setMetadata(values: MetadataValues): void {
    if (JSON.stringify(values) === JSON.stringify(this.#metadata)) return;
    this.#metadata = values;
    if ('timeline' in this.#state) this.#observer.onPacket({ kind: 'metadata', values }, undefined);
  }

  /**
   * Takes one audio or video message.
   *
   * @param timestampMs as the message says, 0 to 2³²−1
   * @param message is not kept: sequence headers are copied, frames passed on as they are
   * @throws {FlvBodyError} for media we cannot use
   * @throws {SequenceHeaderError} for a broken sequence header
   * @throws {SequencerError} for too many breaks, or video that never has a key frame
   */
  media(track: Track, timestampMs: number, message: Uint8Array, arrivalUtcMs: number): void {
    const classified = track === 'video' ? classifyVideo(message) : classifyAudio(message);
    if (classified.kind === 'ignored') return this.#observer.onDropped('ignored');
    const atMs = this.#unwrapper.unwrap(timestampMs);
    const flvBody = classified.what === 'header' ? Uint8Array.from(classified.body) : classified.body;
    if (classified.kind === 'video') {
      if (classified.what === 'header') return this.#videoHeaderCame(flvBody);
      const { keyframe, compositionOffsetMs } = classified;
      const base = { sequenceHeader: false, keyframe, compositionOffsetMs, arrivalUtcMs, flvBody } as const;
      return this.#frame('video', atMs, keyframe, (dtsMs) => ({ kind: 'video', dtsMs, ...base }));
    }
    if (classified.what === 'header') return this.#audioHeaderCame(flvBody, arrivalUtcMs);
    const base = { sequenceHeader: false, arrivalUtcMs, flvBody } as const;
    return this.#frame('audio', atMs, true, (dtsMs) => ({ kind: 'audio', dtsMs, ...base }));
  }

  #videoHeaderCame(body: Uint8Array): void {
    const previous = this.#videoHeader?.body;
    const isSame =
      previous !== undefined &&
      isSameVideo(previous.subarray(VIDEO_BODY_HEADER_BYTES), body.subarray(VIDEO_BODY_HEADER_BYTES));
    if (!isSame) this.#setVideoHeader(body);
    if (!('timeline' in this.#state)) this.#state.videoArrived = true;
    else if (!isSame && this.#state.hasVideo) this.#break('codec_change');
  }

  #setVideoHeader(body: Uint8Array): void {
    this.#videoInfo = readVideoHeader(body.subarray(VIDEO_BODY_HEADER_BYTES));
    this.#videoHeader = { body };
  }

  #audioHeaderCame(body: Uint8Array, arrivalUtcMs: number): void {
    const previous = this.#audioHeader?.body;
    if (previous !== undefined && Buffer.compare(previous, body) === 0) return;
    this.#setAudioHeader(body);
    const state = this.#state;
    if (!('timeline' in state)) return;
    if (previous !== undefined || !state.expectsAudio) {
      this.#break('codec_change');
      return;
    }
    this.#observer.onPacket(
      { kind: 'audio', sequenceHeader: true, dtsMs: state.restartMs, arrivalUtcMs, flvBody: body },
      undefined,
    );
  }

  #setAudioHeader(body: Uint8Array): void {
    this.#audioCodec = readAudioHeader(body.subarray(AUDIO_BODY_HEADER_BYTES));
    this.#audioHeader = { body };
  }

  /** @param canStart a decoder can begin with this frame */
  #frame(track: Track, atMs: number, canStart: boolean, packetAt: (dtsMs: number) => IngestPacket): void {
    if ((track === 'video' ? this.#videoHeader : this.#audioHeader) === undefined)
      return this.#observer.onDropped('no_header');
    let state = this.#state;
    if ('timeline' in state && track === 'video' && !state.hasVideo) {
      if (!canStart) return this.#observer.onDropped('before_keyframe');
      state = this.#break('codec_change');
    }
    if ('timeline' in state) {
      const placement = this.#place(state.timeline, track, atMs);
      if (placement.kind === 'early') return this.#observer.onDropped('early');
      if (placement.kind === 'placed') {
        if (placement.clamped) this.#observer.onClamped();
        return this.#emit(state, track, canStart, packetAt(placement.dtsMs));
      }
      state = this.#break('timestamp_jump');
    }
    if (track === 'video') state.videoArrived = true;
    if (!this.#mayStart(state, track, canStart)) return this.#observer.onDropped('before_keyframe');
    this.#start(track, atMs, packetAt(0));
  }

  /**
   * One track's clock can jump without the other's (a sound card that starts anew), and no timeline would ever fit both:
   * the track that joins one far away from it is moved to where the other is now.
   */
  #place(timeline: Timeline, track: Track, atMs: number): Placement {
    const known = this.#correctionsMs[track];
    if (timeline.has(track)) return timeline.place(track, atMs + known);
    for (const correctionMs of [0, known]) {
      const placement = timeline.place(track, atMs + correctionMs);
      if (placement.kind === 'jump') continue;
      this.#correctionsMs[track] = correctionMs;
      return placement;
    }
    this.#correctionsMs[track] = timeline.newestMs - atMs;
    this.#observer.onClamped();
    return timeline.place(track, timeline.newestMs);
  }

  #mayStart(waiting: Waiting, track: Track, canStart: boolean): boolean {
    const waitedMs = this.#clock.monotonicMs() - waiting.sinceMs;
    if (track === 'video') {
      if (!canStart && waitedMs > this.#limits.keyframeWaitMs)
        throw new SequencerError('keyframe_missing', `no key frame in ${this.#limits.keyframeWaitMs} ms`);
      return canStart;
    }
    if (waiting.videoArrived && waitedMs < this.#limits.keyframeWaitMs) return false;
    const videoExcluded = this.#videoHeader === undefined && announces(this.#metadata, 'video') === false;
    return videoExcluded || waitedMs >= this.#limits.videoWaitMs;
  }

  #start(track: Track, atMs: number, first: IngestPacket): void {
    const state: Running = {
      timeline: new Timeline(this.#limits, track, atMs),
      hasVideo: track === 'video',
      expectsAudio: this.#audioHeader !== undefined || announces(this.#metadata, 'audio') === true,
      restartMs: -AUDIO_RESTART_INTERVAL_MS,
    };
    this.#state = state;
    this.#correctionsMs[track] = 0;
    for (const header of this.#prelude(state, first)) this.#observer.onPacket(header, undefined);
    this.#emit(state, track, true, first);
  }

  #emit(state: Running, track: Track, canStart: boolean, packet: IngestPacket): void {
    const dtsMs = 'dtsMs' in packet ? packet.dtsMs : 0;
    const isRestart = state.hasVideo
      ? track === 'video' && canStart
      : dtsMs - state.restartMs >= AUDIO_RESTART_INTERVAL_MS;
    if (isRestart) state.restartMs = dtsMs;
    this.#observer.onPacket(packet, isRestart ? this.#prelude(state, packet) : undefined);
  }

  /** What a reader that begins at `first` has to know. */
  #prelude(state: Running, first: IngestPacket): IngestPacket[] {
    const at = 'dtsMs' in first ? { dtsMs: first.dtsMs, arrivalUtcMs: first.arrivalUtcMs } : undefined;
    const prelude: IngestPacket[] = [];
    if (this.#metadata !== undefined) prelude.push({ kind: 'metadata', values: this.#metadata });
    if (at === undefined) return prelude;
    if (state.hasVideo && this.#videoHeader !== undefined)
      prelude.push({
        kind: 'video',
        sequenceHeader: true,
        keyframe: false,
        compositionOffsetMs: 0,
        flvBody: this.#videoHeader.body,
        ...at,
      });
    if (this.#audioHeader !== undefined)
      prelude.push({ kind: 'audio', sequenceHeader: true, flvBody: this.#audioHeader.body, ...at });
    return prelude;
  }

  #break(reason: 'timestamp_jump' | 'codec_change'): Waiting {
    const nowMs = this.#clock.monotonicMs();
    while ((this.#breaksMs[0] ?? nowMs) < nowMs - BREAK_WINDOW_MS) this.#breaksMs.shift();
    this.#breaksMs.push(nowMs);
    if (this.#breaksMs.length > this.#limits.timelineBreaksPerMinuteMax)
      throw new SequencerError(
        'timeline_breaks_exceeded',
        `${this.#breaksMs.length} new timelines in a minute`,
      );
    const waiting: Waiting = { sinceMs: nowMs, videoArrived: false };
    this.#state = waiting;
    this.#observer.onPacket({ kind: 'break', reason }, undefined);
    return waiting;
  }
}
