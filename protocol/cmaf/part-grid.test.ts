import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AAC_FRAME_SAMPLES, GridError, planGrid, type PartGrid } from '#protocol/cmaf/part-grid.ts';
import { TrackGrid, type TrackFrames } from '#protocol/cmaf/track-grid.ts';

const RATES = {
  '10': [10, 1],
  '12': [12, 1],
  '15': [15, 1],
  '20': [20, 1],
  '23.976': [24000, 1001],
  '24': [24, 1],
  '25': [25, 1],
  '29.97': [30000, 1001],
  '30': [30, 1],
  '48': [48, 1],
  '50': [50, 1],
  '59.94': [60000, 1001],
  '60': [60, 1],
} as const;
const rate = (name: keyof typeof RATES) => ({ numerator: RATES[name][0], denominator: RATES[name][1] });

const videoFrames = (frameRate: { numerator: number; denominator: number }): TrackFrames => ({
  kind: 'video',
  timescale: frameRate.numerator * 1000,
  frameTicks: frameRate.denominator * 1000,
});
const audioFrames = (sampleRateHz: number): TrackFrames => ({
  kind: 'audio',
  timescale: sampleRateHz,
  frameTicks: AAC_FRAME_SAMPLES,
});

/** Walks `seconds` of frames from media time `fromS` and returns the lengths in ms of all whole parts and segments. */
function simulate(grid: PartGrid, track: TrackFrames, seconds: number, fromS = 0) {
  const cells = new TrackGrid(grid, track);
  const first = Math.ceil((fromS * track.timescale) / track.frameTicks);
  const count = Math.ceil((seconds * track.timescale) / track.frameTicks);
  const toMs = (frames: number): number => (frames * track.frameTicks * 1000) / track.timescale;
  const parts: { cell: number; frames: number; startTicks: number }[] = [];
  for (let index = first; index < first + count; index++) {
    const cell = cells.cellAt(index * track.frameTicks);
    const open = parts.at(-1);
    if (open?.cell === cell) open.frames += 1;
    else {
      parts.push({ cell, frames: 1, startTicks: index * track.frameTicks });
    }
  }
  const whole = parts.slice(1, -1);
  whole.forEach((part, index) => {
    expect(part.cell).toBe((parts[0]?.cell ?? 0) + index + 1);
    expect(cells.cellStartTicks(part.cell)).toBe(part.startTicks);
  });
  const segments = new Map<number, number>();
  for (const part of whole) {
    const { segment } = cells.positionOf(part.cell);
    segments.set(segment, (segments.get(segment) ?? 0) + part.frames);
  }
  return {
    partMs: [...new Set(whole.map((part) => toMs(part.frames)))],
    segmentMs: [...segments.values()].slice(1, -1).map(toMs),
  };
}

function expectWithinRule(grid: PartGrid, partMs: readonly number[]): void {
  for (const ms of partMs) {
    expect(ms).toBeLessThanOrEqual(grid.partTargetMs);
    expect(ms).toBeGreaterThanOrEqual(grid.partTargetMs * 0.85);
  }
}

describe('§4.4.4.9 the length of parts', () => {
  it.each(
    (['24', '25', '29.97', '30', '50', '59.94', '60'] as const).flatMap((fps) =>
      [44_100, 48_000].map((sampleRateHz) => ({ fps, sampleRateHz })),
    ),
  )('cuts 2 s into 6 cells at $fps fps with AAC at $sampleRateHz Hz', ({ fps, sampleRateHz }) => {
    const frameRate = rate(fps);
    const grid = planGrid({ segmentDurationMs: 2000, partDurationMs: 333, frameRate, sampleRateHz });
    expect(grid.partsPerSegment).toBe(6);
    expect(grid.partTargetMs).toBe(360);
    expect(grid.targetDurationS).toBe(2);
    for (const track of [videoFrames(frameRate), audioFrames(sampleRateHz)])
      expectWithinRule(grid, simulate(grid, track, 600).partMs);
  });

  it('is the longest part of any track, rounded up', () => {
    const at = (fps: keyof typeof RATES, sampleRateHz?: number) =>
      planGrid({
        segmentDurationMs: 2000,
        partDurationMs: 333,
        frameRate: rate(fps),
        ...(sampleRateHz === undefined ? {} : { sampleRateHz }),
      }).partTargetMs;
    expect(at('30')).toBe(340);
    expect(at('30', 48_000)).toBe(360);
    expect(at('25', 48_000)).toBe(360);
    expect(at('30', 44_100)).toBe(360);
  });

  it('is rounded by no more than the 85 % rule allows', () => {
    const frameRate = rate('30');
    const grid = planGrid({ segmentDurationMs: 2000, partDurationMs: 200, frameRate, sampleRateHz: 44_100 });
    // 8 or 9 audio frames: 185.8 ms would be less than 85 % of 220 ms.
    expect(grid.partTargetMs).toBe(209);
  });

  it('makes a segment a whole number of frames', () => {
    const grid = planGrid({ segmentDurationMs: 2000, partDurationMs: 333, frameRate: rate('29.97') });
    expect(grid.framesPerSegment).toBe(60);
    expect(grid.segmentDuration).toEqual({ ticks: 60 * 1001, timescale: 30_000 });
  });

  it('cuts audio alone by the wanted duration', () => {
    const grid = planGrid({ segmentDurationMs: 2000, partDurationMs: 333, sampleRateHz: 48_000 });
    expect(grid).toMatchObject({ framesPerSegment: 0, partsPerSegment: 6, partTargetMs: 360 });
    const { partMs, segmentMs } = simulate(grid, audioFrames(48_000), 3600);
    expectWithinRule(grid, partMs);
    expect(Math.max(...segmentMs)).toBeLessThanOrEqual(2010);
  });

  it('names the nearest durations that work when the wanted ones do not', () => {
    const wanted = {
      segmentDurationMs: 1500,
      partDurationMs: 200,
      frameRate: rate('25'),
      sampleRateHz: 48_000,
    };
    const attempt = (): unknown => {
      try {
        return planGrid(wanted);
      } catch (error) {
        return error;
      }
    };
    expect(attempt()).toBeInstanceOf(GridError);
    expect(attempt()).toMatchObject({
      code: 'grid_impossible',
      nearest: { segmentDurationMs: 1500, partDurationMs: 280 },
    });
    expect((attempt() as GridError).message).toContain('25 fps with AAC at 48000 Hz');
    expect(() => planGrid({ ...wanted, partDurationMs: 280 })).not.toThrow();
  });

  it('says so when a frame rate fits nothing', () => {
    const slow = { numerator: 1, denominator: 2 };
    const attempt = () => planGrid({ segmentDurationMs: 2000, partDurationMs: 333, frameRate: slow });
    expect(attempt).toThrow(/no other durations do either/);
  });

  it.each([
    { segmentDurationMs: 999, partDurationMs: 333 },
    { segmentDurationMs: 6001, partDurationMs: 333 },
    { segmentDurationMs: 2000, partDurationMs: 199 },
    { segmentDurationMs: 2000, partDurationMs: 1001 },
    { segmentDurationMs: 2000.5, partDurationMs: 333 },
  ])('refuses durations out of range: %o', (durations) => {
    expect(() => planGrid({ ...durations, sampleRateHz: 48_000 })).toThrow(RangeError);
  });

  const anyRequest = fc.record({
    segmentDurationMs: fc.integer({ min: 1000, max: 6000 }),
    partDurationMs: fc.integer({ min: 200, max: 1000 }),
    fps: fc.constantFrom(undefined, ...(Object.keys(RATES) as (keyof typeof RATES)[])),
    sampleRateHz: fc.constantFrom(undefined, 22_050, 32_000, 44_100, 48_000, 96_000),
  });

  it('holds for every frame of every grid it gives, and lies near what was wanted', () => {
    fc.assert(
      fc.property(anyRequest, fc.integer({ min: 0, max: 200_000 }), (wanted, fromS) => {
        fc.pre(wanted.fps !== undefined || wanted.sampleRateHz !== undefined);
        const tracks = [
          ...(wanted.fps === undefined ? [] : [videoFrames(rate(wanted.fps))]),
          ...(wanted.sampleRateHz === undefined ? [] : [audioFrames(wanted.sampleRateHz)]),
        ];
        const request = {
          segmentDurationMs: wanted.segmentDurationMs,
          partDurationMs: wanted.partDurationMs,
          ...(wanted.fps === undefined ? {} : { frameRate: rate(wanted.fps) }),
          ...(wanted.sampleRateHz === undefined ? {} : { sampleRateHz: wanted.sampleRateHz }),
        };
        let grid: PartGrid;
        try {
          grid = planGrid(request);
        } catch (error) {
          if (!(error instanceof GridError)) throw error;
          const { nearest } = error;
          if (nearest !== undefined) planGrid({ ...request, ...nearest });
          return;
        }
        const cellMs =
          (grid.segmentDuration.ticks * 1000) / grid.segmentDuration.timescale / grid.partsPerSegment;
        expect(Math.abs(cellMs - wanted.partDurationMs)).toBeLessThanOrEqual(
          wanted.partDurationMs / 3 + 1e-6,
        );
        for (const track of tracks) {
          const { partMs, segmentMs } = simulate(grid, track, 30, fromS);
          expectWithinRule(grid, partMs);
          for (const ms of segmentMs) expect(Math.round(ms / 1000)).toBeLessThanOrEqual(grid.targetDurationS);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('holds for 12 hours without a break', () => {
    const frameRate = rate('29.97');
    const grid = planGrid({
      segmentDurationMs: 2000,
      partDurationMs: 333,
      frameRate,
      sampleRateHz: 48_000,
    });
    expectWithinRule(grid, simulate(grid, audioFrames(48_000), 3600, 11 * 3600).partMs);
    const video = new TrackGrid(grid, videoFrames(frameRate));
    const audio = new TrackGrid(grid, audioFrames(48_000));
    for (let cell = 0; cell < 12 * 3600 * 3; cell += 997) {
      const apartS =
        video.cellStartTicks(cell) / videoFrames(frameRate).timescale - audio.cellStartTicks(cell) / 48_000;
      expect(Math.abs(apartS)).toBeLessThanOrEqual(AAC_FRAME_SAMPLES / 48_000 / 2 + 1e-9);
    }
  });
});

describe('TrackGrid', () => {
  it('stays exact after ten years', () => {
    const frameRate = rate('59.94');
    const grid = planGrid({ segmentDurationMs: 2000, partDurationMs: 333, frameRate });
    const cells = new TrackGrid(grid, { kind: 'video', timescale: 60_000, frameTicks: 1001 });
    const frames = 10 * 365 * 86_400 * 60;
    expect(cells.cellAt(frames * 1001)).toBe(Math.floor((frames * 6) / 120));
    expect(cells.cellStartTicks(cells.cellAt(frames * 1001))).toBe(Math.floor(frames / 20) * 20 * 1001);
  });

  it('numbers parts within segments', () => {
    const grid = planGrid({ segmentDurationMs: 2000, partDurationMs: 333, frameRate: rate('30') });
    const cells = new TrackGrid(grid, videoFrames(rate('30')));
    expect(cells.positionOf(13)).toEqual({ segment: 2, part: 1 });
    expect([4, 5, 6].map((cell) => cells.isLastOfSegment(cell))).toEqual([false, true, false]);
  });
});
