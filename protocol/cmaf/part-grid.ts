import type { FrameRate } from '#protocol/ingest/publish-session.ts';

/**
 * The part grid: where segments and parts begin, the same for every track of a stream.
 *
 * A segment is a whole number of video frames and is cut into n equal cells. A video frame belongs to the cell in which
 * it starts, an audio frame to the cell in which its middle lies; every track therefore has the same segments and parts
 * under the same numbers, though an audio part may begin up to half an audio frame beside its video part. n is chosen so
 * that no part of any track needs an exemption from the 85 % rule. @spec rfc8216bis §4.4.4.9
 */

/** Samples of one AAC-LC frame. @spec ISO/IEC 14496-3 §4.5.2.1.1 */
export const AAC_FRAME_SAMPLES = 1024;

/** A part is at least this share of PART-TARGET. @spec rfc8216bis §4.4.4.9 */
export const PART_SHARE_MIN_PERCENT = 85;

/** How far the length of a cell may lie from the wanted part duration, as a share of the latter. */
export const PART_DEVIATION_MAX = 1 / 3;

/**
 * PART-TARGET is rounded up to a multiple of this where the 85 % rule allows it. Sources of different frame rates then have
 * the same one, and a broadcaster who comes back with another camera goes on in the same playlist.
 */
export const PART_TARGET_STEP_MS = 20;

/** Most cells of a segment (the limit of `Presentation.partsPerSegment`). */
export const PARTS_PER_SEGMENT_MAX = 60;

const SEGMENT_MS = { min: 1_000, max: 6_000 } as const;
const PART_MS = { min: 200, max: 1_000 } as const;

/** What a stream asks for, and the frames that must fit into it. */
export type GridRequest = {
  /** 1000–6000. */
  readonly segmentDurationMs: number;
  /** 200–1000. */
  readonly partDurationMs: number;
  /** Of every video rendition; left out for audio alone. */
  readonly frameRate?: FrameRate;
  /** Of 1024-sample AAC frames; left out when there will never be audio. */
  readonly sampleRateHz?: number;
};

/** The grid of a stream. */
export type PartGrid = {
  /** Exact length of a segment in seconds, as a fraction. */
  readonly segmentDuration: { readonly ticks: number; readonly timescale: number };
  /** Video frames of a segment; 0 without video. */
  readonly framesPerSegment: number;
  readonly partsPerSegment: number;
  /** PART-TARGET: the longest part that any track can have, rounded up. */
  readonly partTargetMs: number;
  /** EXT-X-TARGETDURATION: the longest segment that any track can have, rounded to whole seconds. */
  readonly targetDurationS: number;
};

/** A pair of durations that gives a valid grid. */
export type GridDurations = { readonly segmentDurationMs: number; readonly partDurationMs: number };

/** The wanted durations give no valid grid at this frame rate. */
export class GridError extends Error {
  readonly code = 'grid_impossible';
  override readonly name = 'GridError';
  /** The combination nearest to what was wanted that works; none when the frame rate fits no grid at all. */
  readonly nearest: GridDurations | undefined;

  constructor(message: string, nearest: GridDurations | undefined) {
    super(message);
    this.nearest = nearest;
  }
}

/**
 * Finds the grid for the wanted durations: the number of cells whose length is nearest to the wanted part duration and
 * for which every possible part of every track is 85–100 % of PART-TARGET.
 *
 * @throws {GridError} when no number of cells within {@link PART_DEVIATION_MAX} of the wanted length does
 * @throws {RangeError} when a duration or rate is out of its range
 */
export function planGrid(request: GridRequest): PartGrid {
  assertRange('segmentDurationMs', request.segmentDurationMs, SEGMENT_MS);
  assertRange('partDurationMs', request.partDurationMs, PART_MS);
  const grid = bestGrid(request, PART_DEVIATION_MAX);
  if (grid !== undefined) return grid;
  const nearest = nearestDurations(request);
  throw new GridError(
    `parts of ${request.partDurationMs} ms in segments of ${request.segmentDurationMs} ms do not fit ` +
      `${describeRates(request)}; ` +
      (nearest === undefined
        ? 'no other durations do either'
        : `the nearest that do are parts of ${nearest.partDurationMs} ms in segments of ${nearest.segmentDurationMs} ms`),
    nearest,
  );
}

function bestGrid(request: GridRequest, deviationMax: number): PartGrid | undefined {
  const segment = segmentOf(request);
  const segmentMs = (segment.ticks * 1000) / segment.timescale;
  const deviation = (parts: number): number => Math.abs(segmentMs / parts - request.partDurationMs);
  const counts = Array.from({ length: PARTS_PER_SEGMENT_MAX }, (_, index) => index + 1)
    .filter((parts) => deviation(parts) <= request.partDurationMs * deviationMax)
    .sort((a, b) => deviation(a) - deviation(b));
  for (const partsPerSegment of counts) {
    const extremes = partExtremes(request, segment, partsPerSegment);
    const longestMs = Math.max(...extremes.map((track) => track.longestMs));
    const isValid = (targetMs: number): boolean => extremes.every((track) => track.isAtLeast(targetMs));
    if (!isValid(longestMs)) continue;
    const roundedMs = Math.ceil(longestMs / PART_TARGET_STEP_MS) * PART_TARGET_STEP_MS;
    const partTargetMs = isValid(roundedMs) ? roundedMs : longestMs;
    const segmentExtremes = partExtremes(request, segment, 1);
    return {
      segmentDuration: { ticks: segment.ticks, timescale: segment.timescale },
      framesPerSegment: segment.frames,
      partsPerSegment,
      partTargetMs,
      targetDurationS: Math.max(
        1,
        ...segmentExtremes.map((track) => Math.round(track.longestExactMs / 1000)),
      ),
    };
  }
  return undefined;
}

function segmentOf(request: GridRequest): { ticks: number; timescale: number; frames: number } {
  if (request.frameRate === undefined) {
    return { ticks: request.segmentDurationMs, timescale: 1000, frames: 0 };
  }
  const { numerator, denominator } = request.frameRate;
  const frames = Math.max(1, Math.round((request.segmentDurationMs * numerator) / (denominator * 1000)));
  return { ticks: frames * denominator, timescale: numerator, frames };
}

type Extremes = {
  /** Longest possible part in whole ms, rounded up. */
  readonly longestMs: number;
  readonly longestExactMs: number;
  /** Whether the shortest possible part is 85 % of `partTargetMs`. */
  isAtLeast(partTargetMs: number): boolean;
};

/**
 * The shortest and longest parts that each track can have when a segment is cut into `cells`. A cell is `x` frames long;
 * it holds `floor(x)` or `ceil(x)` of them wherever it lies.
 */
function partExtremes(
  request: GridRequest,
  segment: { ticks: number; timescale: number; frames: number },
  cells: number,
): Extremes[] {
  const tracks: Extremes[] = [];
  // A frame lasts unit / rate seconds; all products below stay far under 2^53.
  const add = (numerator: number, denominator: number, unit: number, rate: number): void => {
    const shortest = Math.floor(numerator / denominator);
    const longest = Math.ceil(numerator / denominator);
    tracks.push({
      longestMs: Math.ceil((longest * unit * 1000) / rate),
      longestExactMs: (longest * unit * 1000) / rate,
      isAtLeast: (partTargetMs) =>
        shortest >= 1 && shortest * unit * 100_000 >= PART_SHARE_MIN_PERCENT * partTargetMs * rate,
    });
  };
  if (request.frameRate !== undefined)
    add(segment.frames, cells, request.frameRate.denominator, request.frameRate.numerator);
  if (request.sampleRateHz !== undefined) {
    add(
      segment.ticks * request.sampleRateHz,
      segment.timescale * AAC_FRAME_SAMPLES * cells,
      AAC_FRAME_SAMPLES,
      request.sampleRateHz,
    );
  }
  if (tracks.length === 0) throw new RangeError('a grid needs a frame rate or a sample rate');
  return tracks;
}

/** Searches first other parts for the wanted segment, then other segments, in steps that a person would choose. */
function nearestDurations(request: GridRequest): GridDurations | undefined {
  let best: GridDurations | undefined;
  let bestDistance = Infinity;
  for (
    let segmentDurationMs = SEGMENT_MS.min;
    segmentDurationMs <= SEGMENT_MS.max;
    segmentDurationMs += 250
  ) {
    for (let partDurationMs = PART_MS.min; partDurationMs <= PART_MS.max; partDurationMs += 20) {
      const grid = bestGrid({ ...request, segmentDurationMs, partDurationMs }, 0.1);
      if (grid === undefined) continue;
      const distance =
        2 * Math.abs(Math.log(segmentDurationMs / request.segmentDurationMs)) +
        Math.abs(Math.log(partDurationMs / request.partDurationMs));
      if (distance < bestDistance) [best, bestDistance] = [{ segmentDurationMs, partDurationMs }, distance];
    }
  }
  return best;
}

function describeRates(request: GridRequest): string {
  const rates: string[] = [];
  if (request.frameRate !== undefined)
    rates.push(`${Number((request.frameRate.numerator / request.frameRate.denominator).toFixed(3))} fps`);
  if (request.sampleRateHz !== undefined) rates.push(`AAC at ${request.sampleRateHz} Hz`);
  return rates.join(' with ');
}

function assertRange(name: string, value: number, range: { min: number; max: number }): void {
  if (!Number.isInteger(value) || value < range.min || value > range.max)
    throw new RangeError(`${name}: expected a whole number from ${range.min} to ${range.max}, got ${value}`);
}
