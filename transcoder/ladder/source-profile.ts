import { parseAudioSpecificConfig } from '#protocol/cmaf/audio-specific-config.ts';
import { parseAvcConfiguration } from '#protocol/cmaf/avc-configuration.ts';
import { CmafError } from '#protocol/cmaf/cmaf-error.ts';
import type { FrameRate } from '#protocol/ingest/publish-session.ts';
import type { IngestPacket } from '#transcoder/ingest/incoming-publish.ts';
import { announces } from '#transcoder/ingest/stream-metadata.ts';
import { TranscodeError } from '#transcoder/transcode-error.ts';
import { aacPayload, avcPayload, isAvcFrame } from '#transcoder/ladder/flv-body.ts';
import { chooseFrameRate, isRateClaimed } from '#transcoder/ladder/frame-rate.ts';

/** The broadcaster's video. */
export type SourceVideo = {
  /** As it is shown, with square samples. */
  readonly width: number;
  readonly height: number;
  /** As it is coded. */
  readonly codedWidth: number;
  readonly codedHeight: number;
  /** Rate to encode at: exact, 10–60 fps. */
  readonly frameRate: FrameRate;
  /** What the broadcaster says that it sends. */
  readonly bitrateBps: number | undefined;
  /** AVCDecoderConfigurationRecord. */
  readonly configuration: Uint8Array;
};

/** The broadcaster's audio. */
export type SourceAudio = { readonly sampleRateHz: number; readonly channels: number };

/** What a broadcaster sends; at least one of the two. */
export type SourceProfile = { readonly video?: SourceVideo; readonly audio?: SourceAudio };

/** Media time after which a track that has not come is taken as not there. */
export const TRACK_WAIT_MS = 1_000;

/**
 * Finds out from the first packets of a timeline what the broadcaster sends. Sequence headers and metadata outlive
 * {@link SourceProber.restart}; whether a track is there is judged from its frames since then.
 */
export class SourceProber {
  #video:
    { readonly packet: IngestPacket & { kind: 'video' }; readonly configuration: Uint8Array } | undefined;
  #audio: { readonly packet: IngestPacket & { kind: 'audio' }; readonly source: SourceAudio } | undefined;
  #metadata: Readonly<Record<string, number | string | boolean>> = {};
  #videoTimesMs: number[] = [];
  #videoSeen = false;
  #keyframeSeen = false;
  #audioSeen = false;
  #firstMs: number | undefined;
  #lastMs = 0;

  /** The last sequence headers, to be sent again to every encoder that is started. */
  get sequenceHeaders(): readonly IngestPacket[] {
    return [this.#video?.packet, this.#audio?.packet].filter((packet) => packet !== undefined);
  }

  /** Forgets the frames, not the sequence headers: a new timeline begins. */
  restart(): void {
    this.#videoTimesMs = [];
    this.#videoSeen = false;
    this.#keyframeSeen = false;
    this.#audioSeen = false;
    this.#firstMs = undefined;
    this.#lastMs = 0;
  }

  /**
   * Takes one packet.
   *
   * @throws {TranscodeError} `source_unsupported` when a sequence header is not one of H.264 or AAC
   */
  push(packet: IngestPacket): void {
    switch (packet.kind) {
      case 'metadata':
        this.#metadata = packet.values;
        return;
      case 'break':
        this.restart();
        return;
      case 'video':
        if (packet.sequenceHeader) this.#video = { packet, configuration: requireAvc(packet.flvBody) };
        else this.#pushVideoFrame(packet);
        return;
      case 'audio':
        if (packet.sequenceHeader) this.#audio = { packet, source: requireAac(packet.flvBody) };
        else this.#pushAudioFrame(packet);
    }
  }

  /**
   * What is being sent, as soon as that is clear: both tracks have come, or one has and the other has been waited for
   * {@link TRACK_WAIT_MS} of media time; and the frame rate is claimed or measured.
   */
  profile(): SourceProfile | undefined {
    const waitedMs = this.#firstMs === undefined ? 0 : this.#lastMs - this.#firstMs;
    const waited = waitedMs >= TRACK_WAIT_MS;
    const hasVideo = this.#keyframeSeen && this.#video !== undefined;
    const hasAudio = this.#audioSeen && this.#audio !== undefined;
    // Frames without a key frame: video is there, only not its beginning.
    if (!hasVideo && (this.#videoSeen || !hasAudio || !waited)) return undefined;
    if (!hasAudio && !waited && announces(this.#metadata, 'audio') !== false) return undefined;
    const video = hasVideo ? this.#sourceVideo(waited) : undefined;
    if (hasVideo && video === undefined) return undefined;
    return {
      ...(video === undefined ? {} : { video }),
      ...(hasAudio && this.#audio !== undefined ? { audio: this.#audio.source } : {}),
    };
  }

  #pushVideoFrame(packet: IngestPacket & { kind: 'video' }): void {
    if (avcPayload(packet.flvBody) === undefined)
      throw new TranscodeError('source_unsupported', 'the video is not H.264');
    if (!isAvcFrame(packet.flvBody)) return;
    this.#videoSeen = true;
    this.#keyframeSeen ||= packet.keyframe;
    if (!this.#keyframeSeen) return;
    this.#see(packet.dtsMs);
    // Enough for a measurement; more would only cost memory while waiting for the other track.
    if (this.#videoTimesMs.length < 64) this.#videoTimesMs.push(packet.dtsMs + packet.compositionOffsetMs);
  }

  #pushAudioFrame(packet: IngestPacket & { kind: 'audio' }): void {
    if (aacPayload(packet.flvBody) === undefined)
      throw new TranscodeError('source_unsupported', 'the audio is not AAC');
    this.#audioSeen = true;
    this.#see(packet.dtsMs);
  }

  #see(dtsMs: number): void {
    this.#firstMs = Math.min(this.#firstMs ?? dtsMs, dtsMs);
    this.#lastMs = Math.max(this.#lastMs, dtsMs);
  }

  #sourceVideo(waited: boolean): SourceVideo | undefined {
    if (this.#video === undefined) return undefined;
    const configuration = parseAvcConfiguration(this.#video.configuration);
    const clues = { vui: configuration.frameRate, metadata: this.#number('framerate') };
    if (!isRateClaimed(clues) && this.#videoTimesMs.length < 8 && !waited) return undefined;
    const frameRate = chooseFrameRate({ ...clues, presentationTimesMs: this.#videoTimesMs });
    const { width, height, sampleAspect } = configuration;
    const bitrateKbps = this.#number('videodatarate');
    return {
      ...squareSize(width, height, sampleAspect),
      codedWidth: width,
      codedHeight: height,
      // A source so slow that a second of it holds too few frames to measure.
      frameRate: frameRate ?? { numerator: 10, denominator: 1 },
      bitrateBps: bitrateKbps === undefined || bitrateKbps <= 0 ? undefined : Math.round(bitrateKbps * 1000),
      configuration: this.#video.configuration,
    };
  }

  #number(name: string): number | undefined {
    const value = this.#metadata[name];
    return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
  }
}

/** Stretches the narrower direction, so that no sample is lost. */
function squareSize(
  width: number,
  height: number,
  aspect: { numerator: number; denominator: number },
): { width: number; height: number } {
  const ratio = aspect.numerator / aspect.denominator;
  // Odd claims are more often mistakes than anamorphic pictures.
  if (ratio < 0.25 || ratio > 4) return { width, height };
  return ratio >= 1
    ? { width: Math.round(width * ratio), height }
    : { width, height: Math.round(height / ratio) };
}

function requireAvc(flvBody: Uint8Array): Uint8Array {
  const payload = avcPayload(flvBody);
  if (payload === undefined) throw new TranscodeError('source_unsupported', 'the video is not H.264');
  return readable(() => {
    parseAvcConfiguration(payload);
    return Uint8Array.from(payload);
  });
}

function requireAac(flvBody: Uint8Array): SourceAudio {
  const payload = aacPayload(flvBody);
  if (payload === undefined) throw new TranscodeError('source_unsupported', 'the audio is not AAC');
  return readable(() => {
    const { sampleRateHz, channels } = parseAudioSpecificConfig(payload);
    return { sampleRateHz, channels: channels === 0 ? 2 : channels };
  });
}

function readable<Value>(read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    if (error instanceof CmafError)
      throw new TranscodeError('source_unsupported', `the sequence header is damaged: ${error.message}`);
    throw error;
  }
}
