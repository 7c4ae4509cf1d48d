import { AAC_FRAME_SAMPLES, GridError, planGrid, type PartGrid } from '#protocol/cmaf/part-grid.ts';
import {
  COPIED_RENDITION_ID,
  type FrameRate,
  type LadderRung,
  type LadderSettings,
  type X264_PRESETS,
} from '#protocol/ingest/publish-session.ts';
import { TranscodeError } from '#transcoder/transcode-error.ts';
import { fpsOf, videoTimescale } from '#transcoder/ladder/frame-rate.ts';
import type { SourceAudio, SourceProfile, SourceVideo } from '#transcoder/ladder/source-profile.ts';

export type X264Preset = (typeof X264_PRESETS)[number];

/** The transcoder's own choices, for what a stream leaves open. */
export type LadderDefaults = {
  readonly rungs: readonly LadderRung[];
  readonly preset: X264Preset;
  /** Used instead when the ladder has more than `largePixelRate` pixels per second in all. */
  readonly presetLarge: X264Preset;
  readonly largePixelRate: number;
  /** Of two channels; one channel gets half. */
  readonly audioBitrateBps: number;
};

/** One video rendition as it will be made. */
export type PlannedVideo = {
  readonly kind: 'video';
  readonly id: string;
  /** `copy`: the broadcaster's own frames. */
  readonly mode: 'encode' | 'copy';
  readonly width: number;
  readonly height: number;
  readonly bitrateBps: number;
  readonly frameRate: FrameRate;
  readonly timescale: number;
  readonly frameTicks: number;
};

/** The audio rendition as it will be made. */
export type PlannedAudio = {
  readonly kind: 'audio';
  readonly id: string;
  readonly mode: 'encode';
  readonly channels: number;
  readonly sampleRateHz: number;
  readonly bitrateBps: number;
  readonly timescale: number;
  readonly frameTicks: number;
};
export type PlannedRendition = PlannedVideo | PlannedAudio;

/** A rung as a plan has named it. */
export type NamedRung = {
  readonly id: string;
  /** Of the shorter side. */
  readonly height: number;
  readonly bitrateBps: number;
  readonly isDefault: boolean;
};

/** Everything about a timeline that is decided before its encoder starts. */
export type LadderPlan = {
  readonly grid: PartGrid;
  /** Highest video first, audio last. */
  readonly renditions: readonly PlannedRendition[];
  /** The rungs behind it, those saved by economy too: what a later timeline of the same broadcast has to keep. */
  readonly rungs: readonly NamedRung[];
  readonly preset: X264Preset;
  /** Threads of each x264; 0 lets x264 choose. */
  readonly threadsPerEncoder: number;
};

/** What a plan is made for. */
export type LadderRequest = {
  readonly source: SourceProfile;
  readonly segmentDurationMs: number;
  readonly partDurationMs: number;
  /** What the stream asks for. */
  readonly ladder: LadderSettings;
  readonly defaults: LadderDefaults;
  /**
   * How much is to be saved because the machine could not keep up: 0 nothing, 1 the fastest preset, 2 also half of a
   * frame rate over 30, and one of the highest rungs for every step above.
   */
  readonly economy: number;
  /** False when the broadcaster's key frames turned out not to fit: `source` is then encoded. */
  readonly copyAllowed: boolean;
  /**
   * Rungs of the timeline before. Its viewers read the multivariant playlist once and know no others, so they stay when
   * the source changes its size, those larger than the source at its own size.
   */
  readonly keep?: readonly NamedRung[];
};

/** Audio is always encoded at this rate: its frames then lie the same way in every stream's grid. */
export const AUDIO_SAMPLE_RATE_HZ = 48_000;

/** A rung this much higher than the source still stands for it, at the source's own size. */
const RUNG_TOLERANCE = 1.03;
/** From this many pixels per frame on, x264 may use as many threads as it likes. */
const THREADED_PIXELS = 1_200_000;
const SOURCE_BITRATE_FALLBACK_BPS = 6_000_000;
/** Encoders spend this much more on twice the frames. */
const HIGH_RATE_BITRATE_FACTOR = 1.4;
const HIGH_RATE_FPS = 31;

/**
 * Decides renditions, grid and effort from what the broadcaster sends and what the stream asks for.
 *
 * @throws {TranscodeError} `grid_impossible`, naming durations that work
 */
export function planLadder(request: LadderRequest): LadderPlan {
  const { source, ladder, defaults, economy } = request;
  const rungs = source.video === undefined ? (request.keep ?? []) : planRungs(source.video, request);
  const video = source.video === undefined ? [] : planVideo(source.video, rungs, request);
  const audio = source.audio === undefined ? [] : [planAudio(source.audio, ladder, defaults)];
  const encoded = video.filter((rendition) => rendition.mode === 'encode');
  const pixelRate = encoded.reduce((sum, one) => sum + one.width * one.height * fpsOf(one.frameRate), 0);
  const own = ladder.preset ?? (pixelRate > defaults.largePixelRate ? defaults.presetLarge : defaults.preset);
  const largest = Math.max(0, ...encoded.map((one) => one.width * one.height));
  return {
    grid: gridFor(request, video[0]?.frameRate),
    renditions: [...video, ...audio],
    rungs,
    preset: economy >= 1 ? 'ultrafast' : own,
    threadsPerEncoder: largest >= THREADED_PIXELS ? 0 : 1,
  };
}

function gridFor(request: LadderRequest, frameRate: FrameRate | undefined): PartGrid {
  try {
    return planGrid({
      segmentDurationMs: request.segmentDurationMs,
      partDurationMs: request.partDurationMs,
      ...(frameRate === undefined ? {} : { frameRate }),
      // Also without audio: PART-TARGET must not change when a microphone is plugged in later.
      sampleRateHz: AUDIO_SAMPLE_RATE_HZ,
    });
  } catch (error) {
    if (error instanceof GridError)
      throw new TranscodeError('grid_impossible', error.message, { cause: error });
    throw error;
  }
}

function planVideo(source: SourceVideo, rungs: readonly NamedRung[], request: LadderRequest): PlannedVideo[] {
  const { ladder, economy } = request;
  // A copy keeps the broadcaster's frames, so nothing beside it can be at half the rate.
  const copies = ladder.copy === true && request.copyAllowed;
  const frameRate = economy >= 2 && !copies ? halved(source.frameRate) : source.frameRate;
  const timing = { frameRate, ...videoTimescale(frameRate) };
  const shorter = Math.min(source.width, source.height);
  const faster = fpsOf(frameRate) > HIGH_RATE_FPS ? HIGH_RATE_BITRATE_FACTOR : 1;
  const encoded = rungs
    .slice(Math.min(Math.max(0, economy - 2), Math.max(0, rungs.length - 1)))
    .map((rung): PlannedVideo => ({
      kind: 'video',
      id: rung.id,
      mode: 'encode',
      ...scaledSize(source, Math.min(rung.height, shorter)),
      bitrateBps: Math.round(rung.bitrateBps * (rung.isDefault ? faster : 1)),
      ...timing,
    }));
  if (ladder.copy !== true) return encoded;
  const own: PlannedVideo = {
    kind: 'video',
    id: COPIED_RENDITION_ID,
    mode: copies ? 'copy' : 'encode',
    ...(copies ? { width: source.width, height: source.height } : evenSize(source.width, source.height)),
    bitrateBps: source.bitrateBps ?? SOURCE_BITRATE_FALLBACK_BPS,
    ...timing,
  };
  return [own, ...encoded];
}

/** The rungs to keep and those not larger than the source, highest first; never none unless the stream wants none. */
function planRungs(source: SourceVideo, request: LadderRequest): NamedRung[] {
  const { keep = [] } = request;
  const kept = new Set(keep.map(({ id }) => id));
  const fitting = fittingRungs(source, request).filter(({ id }) => !kept.has(id));
  const added = keep.length === 0 && fitting.length === 0 ? ownSizeRung(source, request) : fitting;
  return [...keep, ...added].sort((a, b) => b.height - a.height || b.bitrateBps - a.bitrateBps);
}

function wantedRungs({ ladder, defaults }: LadderRequest): LadderRung[] {
  const isLeftOpen = ladder.rungs === undefined || (ladder.rungs.length === 0 && ladder.copy !== true);
  const rungs = isLeftOpen ? defaults.rungs : (ladder.rungs ?? []);
  return [...rungs].sort((a, b) => b.height - a.height || b.bitrateBps - a.bitrateBps);
}

function fittingRungs(source: SourceVideo, request: LadderRequest): NamedRung[] {
  const isDefault = request.ladder.rungs === undefined;
  const heightMax = Math.min(source.width, source.height) * RUNG_TOLERANCE;
  const fitting = wantedRungs(request).filter(({ height }) => height <= heightMax);
  return fitting.map(({ height, bitrateBps }, index) => {
    const twins = fitting.slice(0, index).filter((other) => other.height === height).length;
    return { id: twins === 0 ? `${height}p` : `${height}p-${twins + 1}`, height, bitrateBps, isDefault };
  });
}

/** For a source that is smaller than every rung: its own size. */
function ownSizeRung(source: SourceVideo, request: LadderRequest): NamedRung[] {
  const smallest = wantedRungs(request).at(-1);
  if (smallest === undefined) return [];
  const size = evenSize(source.width, source.height);
  const share = (size.width * size.height) / smallest.height ** 2 / (16 / 9);
  const bitrateBps = Math.max(100_000, Math.round(smallest.bitrateBps * Math.min(1, share)));
  const isDefault = request.ladder.rungs === undefined;
  return [
    {
      id: `${Math.min(size.width, size.height)}p`,
      height: Math.min(source.width, source.height),
      bitrateBps,
      isDefault,
    },
  ];
}

/** The source's shape with `shorter` as its shorter side, both sides even. */
function scaledSize(
  source: { readonly width: number; readonly height: number },
  shorter: number,
): { width: number; height: number } {
  const scale = shorter / Math.min(source.width, source.height);
  if (scale === 1) return evenSize(source.width, source.height);
  const even = (side: number): number => Math.max(2, Math.round((side * scale) / 2) * 2);
  return { width: even(source.width), height: even(source.height) };
}

/** 4:2:0 pictures have even sides; what is odd loses its last line. */
function evenSize(width: number, height: number): { width: number; height: number } {
  return { width: Math.max(2, width - (width % 2)), height: Math.max(2, height - (height % 2)) };
}

function halved(rate: FrameRate): FrameRate {
  if (fpsOf(rate) <= HIGH_RATE_FPS) return rate;
  return rate.numerator % 2 === 0
    ? { numerator: rate.numerator / 2, denominator: rate.denominator }
    : { numerator: rate.numerator, denominator: rate.denominator * 2 };
}

function planAudio(source: SourceAudio, ladder: LadderSettings, defaults: LadderDefaults): PlannedAudio {
  const channels = source.channels === 1 ? 1 : 2;
  return {
    kind: 'audio',
    id: 'audio',
    mode: 'encode',
    channels,
    sampleRateHz: AUDIO_SAMPLE_RATE_HZ,
    bitrateBps: ladder.audioBitrateBps ?? Math.round((defaults.audioBitrateBps * channels) / 2),
    timescale: AUDIO_SAMPLE_RATE_HZ,
    frameTicks: AAC_FRAME_SAMPLES,
  };
}
