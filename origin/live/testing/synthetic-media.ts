import { writeAvcInitSegment } from '#protocol/cmaf/init-writer.ts';
import { writePart } from '#protocol/cmaf/part-writer.ts';
import { planGrid, AAC_FRAME_SAMPLES } from '#protocol/cmaf/part-grid.ts';
import { TrackGrid } from '#protocol/cmaf/track-grid.ts';
import type {
  AudioRendition,
  FrameRate,
  Presentation,
  RenditionDescription,
  VideoRendition,
} from '#protocol/ingest/publish-session.ts';

/**
 * Media for tests: boxes that are whole and a grid that is right, around samples of noise. Nothing can be decoded.
 */

const FPS_30: FrameRate = { numerator: 30, denominator: 1 };
/** Ticks of a video frame per unit of the frame rate's denominator; the timescale follows from it. */
const VIDEO_TICKS_PER_UNIT = 1_000;

export function videoRendition(id: string, bitrateBps: number, frameRate = FPS_30): VideoRendition {
  return {
    kind: 'video',
    id,
    codecs: 'avc1.64001F',
    timescale: frameRate.numerator * VIDEO_TICKS_PER_UNIT,
    bitrateBps,
    width: 1280,
    height: 720,
    frameRate,
  };
}

export function audioRendition(id = 'audio', sampleRateHz = 48_000): AudioRendition {
  return {
    kind: 'audio',
    id,
    codecs: 'mp4a.40.2',
    timescale: sampleRateHz,
    bitrateBps: 128_000,
    channels: 2,
    sampleRateHz,
  };
}

export type PresentationOptions = {
  readonly segmentDurationMs?: number;
  readonly partDurationMs?: number;
  readonly renditions?: readonly RenditionDescription[];
};

/** A presentation on the grid that the transcoder would plan for its renditions. */
export function makePresentation(options: PresentationOptions = {}): Presentation {
  const renditions = options.renditions ?? [
    videoRendition('720p', 3_000_000),
    videoRendition('360p', 800_000),
    audioRendition(),
  ];
  const video = renditions.find((rendition) => rendition.kind === 'video');
  const audio = renditions.find((rendition) => rendition.kind === 'audio');
  const { segmentDuration, partsPerSegment, partTargetMs, targetDurationS } = planGrid({
    segmentDurationMs: options.segmentDurationMs ?? 2_000,
    partDurationMs: options.partDurationMs ?? 333,
    ...(video === undefined ? {} : { frameRate: video.frameRate }),
    ...(audio === undefined ? {} : { sampleRateHz: audio.sampleRateHz }),
  });
  return { segmentDuration, partsPerSegment, partTargetMs, targetDurationS, renditions: [...renditions] };
}

/** Where the grid puts a part of a rendition, in ticks of its timescale from media time 0. */
export function partTicks(
  presentation: Presentation,
  rendition: RenditionDescription,
  cell: number,
): { startTicks: number; durationTicks: number } {
  const frameTicks =
    rendition.kind === 'video' ? VIDEO_TICKS_PER_UNIT * rendition.frameRate.denominator : AAC_FRAME_SAMPLES;
  const grid = new TrackGrid(
    { ...presentation, framesPerSegment: 0 },
    { kind: rendition.kind, timescale: rendition.timescale, frameTicks },
  );
  const startTicks = grid.cellStartTicks(cell);
  return { startTicks, durationTicks: grid.cellStartTicks(cell + 1) - startTicks };
}

export type SyntheticPart = {
  readonly startTicks: number;
  readonly durationTicks: number;
  readonly independent: boolean;
  /** Distinguishes the bytes of one part from those of another. */
  readonly label: string;
  readonly mediaBytes?: number;
};

/** One moof and one mdat. */
export function makePart(part: SyntheticPart): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(part.mediaBytes ?? 512).fill(0x55);
  data.set(new TextEncoder().encode(part.label).subarray(0, data.length));
  return writePart(1, 1, [
    {
      startTicks: part.startTicks,
      durationTicks: part.durationTicks,
      compositionOffsetTicks: 0,
      sync: part.independent,
      data,
    },
  ]);
}

/** An ftyp and a moov, different for each timeline. */
export function makeInit(rendition: RenditionDescription, timeline: number): Uint8Array<ArrayBuffer> {
  return writeAvcInitSegment({
    timescale: rendition.timescale,
    width: 1280,
    height: 720,
    configuration: new TextEncoder().encode(`${rendition.id} ${timeline}`),
  });
}
