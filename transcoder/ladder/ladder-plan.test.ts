import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LadderSettings } from '#protocol/ingest/publish-session.ts';
import { planLadder, type LadderDefaults, type LadderRequest } from '#transcoder/ladder/ladder-plan.ts';
import type { SourceProfile } from '#transcoder/ladder/source-profile.ts';

const DEFAULTS: LadderDefaults = {
  rungs: [
    { height: 1080, bitrateBps: 5_000_000 },
    { height: 720, bitrateBps: 2_800_000 },
    { height: 480, bitrateBps: 1_200_000 },
    { height: 360, bitrateBps: 700_000 },
  ],
  preset: 'superfast',
  presetLarge: 'ultrafast',
  largePixelRate: 75_000_000,
  audioBitrateBps: 128_000,
};
const video = (width: number, height: number, fps = 30) => ({
  width,
  height,
  codedWidth: width,
  codedHeight: height,
  frameRate: { numerator: fps, denominator: 1 },
  bitrateBps: undefined,
  configuration: new Uint8Array(),
});
const stereo = { sampleRateHz: 44_100, channels: 2 };
const plan = (source: SourceProfile, ladder: LadderSettings = {}, more: Partial<LadderRequest> = {}) =>
  planLadder({
    source,
    ladder,
    segmentDurationMs: 2000,
    partDurationMs: 333,
    defaults: DEFAULTS,
    economy: 0,
    copyAllowed: true,
    ...more,
  });
const summary = (...args: Parameters<typeof plan>): string[] =>
  plan(...args).renditions.map((one) =>
    one.kind === 'video' ? `${one.id} ${one.width}x${one.height}` : `${one.id} ${one.channels}`,
  );

describe('planLadder', () => {
  it.each([
    [1920, 1080, ['1080p 1920x1080', '720p 1280x720', '480p 854x480', '360p 640x360']],
    [1280, 720, ['720p 1280x720', '480p 854x480', '360p 640x360']],
    [720, 1280, ['720p 720x1280', '480p 480x854', '360p 360x640']],
    [1080, 1080, ['1080p 1080x1080', '720p 720x720', '480p 480x480', '360p 360x360']],
    [2560, 1080, ['1080p 2560x1080', '720p 1706x720', '480p 1138x480', '360p 854x360']],
    [854, 480, ['480p 854x480', '360p 640x360']],
    [1278, 718, ['720p 1278x718', '480p 854x480', '360p 640x360']],
    [426, 240, ['240p 426x240']],
    [321, 241, ['240p 320x240']],
    [1023, 577, ['480p 852x480', '360p 638x360']],
  ])('fits the rungs to %d × %d', (width, height, expected) => {
    expect(summary({ video: video(width, height) })).toEqual(expected);
  });

  it.each([
    [320, 180, 480, 270, ['180p 320x180']],
    [320, 180, 640, 360, ['360p 640x360', '180p 320x180']],
    [1280, 720, 640, 360, ['720p 640x360', '480p 640x360', '360p 640x360']],
    [1280, 720, 320, 180, ['720p 320x180', '480p 320x180', '360p 320x180']],
    [640, 360, 1280, 720, ['720p 1280x720', '480p 854x480', '360p 640x360']],
    [640, 360, 360, 640, ['360p 360x640']],
  ])('keeps the rungs of viewers when %d × %d becomes %d × %d', (width, height, wider, higher, expected) => {
    const { rungs } = plan({ video: video(width, height) }, {}, { economy: 8 });
    expect(summary({ video: video(wider, higher) }, {}, { keep: rungs })).toEqual(expected);
  });

  it('keeps the rungs while the picture is away, and adds none beside a copy that was wanted alone', () => {
    const { rungs } = plan({ video: video(1280, 720), audio: stereo });
    expect(plan({ audio: stereo }, {}, { keep: rungs }).rungs).toEqual(rungs);
    const copied = plan({ video: video(320, 180) }, { rungs: [], copy: true });
    expect(summary({ video: video(480, 270) }, { rungs: [], copy: true }, { keep: copied.rungs })).toEqual([
      'source 480x270',
    ]);
  });

  it('never upscales, keeps even sizes and unique ids that a path may hold', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 16, max: 4096 }),
        fc.integer({ min: 16, max: 4096 }),
        fc.array(
          fc.record({
            height: fc.integer({ min: 64, max: 2160 }),
            bitrateBps: fc.integer({ min: 50_000, max: 9_000_000 }),
          }),
          { maxLength: 8 },
        ),
        fc.boolean(),
        fc.integer({ min: 0, max: 8 }),
        (width, height, rungs, copy, economy) => {
          const { renditions } = plan(
            { video: video(width, height), audio: stereo },
            { rungs, copy },
            { economy },
          );
          const ids = renditions.map((one) => one.id);
          expect(new Set(ids).size).toBe(ids.length);
          expect(ids.every((id) => /^[a-z0-9_-]{1,32}$/.test(id))).toBe(true);
          const videos = renditions.filter((one) => one.kind === 'video');
          expect(videos.length).toBeGreaterThan(0);
          for (const one of videos) {
            const encoded = one.mode === 'encode';
            expect(encoded && (one.width % 2 !== 0 || one.height % 2 !== 0)).toBe(false);
            expect(one.width).toBeLessThanOrEqual(width + 1);
            expect(one.height).toBeLessThanOrEqual(height + 1);
          }
        },
      ),
    );
  });

  it("encodes mono as mono, surround as stereo, always at the grid's rate", () => {
    const audioOf = (channels: number) => plan({ audio: { sampleRateHz: 22_050, channels } }).renditions[0];
    expect(audioOf(1)).toMatchObject({ id: 'audio', channels: 1, bitrateBps: 64_000, sampleRateHz: 48_000 });
    expect(audioOf(6)).toMatchObject({ channels: 2, bitrateBps: 128_000, timescale: 48_000 });
  });

  it('takes no audio and no video', () => {
    expect(summary({ video: video(640, 360) })).toEqual(['360p 640x360']);
    expect(summary({ audio: stereo })).toEqual(['audio 2']);
    expect(plan({ audio: stereo }).grid).toMatchObject({ framesPerSegment: 0, partsPerSegment: 6 });
  });

  it('has the same PART-TARGET with and without audio', () => {
    const withAudio = plan({ video: video(640, 360), audio: stereo }).grid;
    expect(plan({ video: video(640, 360) }).grid).toEqual(withAudio);
  });

  it("lets the stream's ladder win", () => {
    const ladder: LadderSettings = {
      rungs: [
        { height: 360, bitrateBps: 500_000 },
        { height: 720, bitrateBps: 2_000_000 },
        { height: 720, bitrateBps: 3_000_000 },
      ],
      preset: 'veryfast',
      audioBitrateBps: 64_000,
    };
    const made = plan({ video: video(1280, 720), audio: stereo }, ladder);
    expect(made.renditions.map((one) => [one.id, one.bitrateBps])).toEqual([
      ['720p', 3_000_000],
      ['720p-2', 2_000_000],
      ['360p', 500_000],
      ['audio', 64_000],
    ]);
    expect(made.preset).toBe('veryfast');
  });

  it('copies the source when asked, and encodes it when its key frames do not fit', () => {
    const source = { video: { ...video(1281, 721), bitrateBps: 4_000_000 } };
    const ladder: LadderSettings = { copy: true, rungs: [] };
    expect(plan(source, ladder).renditions).toMatchObject([
      { id: 'source', mode: 'copy', width: 1281, height: 721, bitrateBps: 4_000_000 },
    ]);
    expect(plan(source, ladder, { copyAllowed: false }).renditions).toMatchObject([
      { id: 'source', mode: 'encode', width: 1280, height: 720, bitrateBps: 4_000_000 },
    ]);
    expect(summary(source, { copy: true })).toEqual([
      'source 1281x721',
      '720p 1280x720',
      '480p 852x480',
      '360p 640x360',
    ]);
  });

  it('takes the faster preset for many pixels, unless the stream names one', () => {
    expect(plan({ video: video(1280, 720) }).preset).toBe('superfast');
    expect(plan({ video: video(1920, 1080) }).preset).toBe('ultrafast');
    expect(plan({ video: video(1280, 720, 60) }).preset).toBe('ultrafast');
    expect(plan({ video: video(1920, 1080) }, { preset: 'fast' }).preset).toBe('fast');
  });

  it('spends more bits on twice the frames, but not more than a stream asks for', () => {
    const at = (fps: number, ladder: LadderSettings = {}) =>
      plan({ video: video(1280, 720, fps) }, ladder).renditions[0]?.bitrateBps;
    expect([at(30), at(60)]).toEqual([2_800_000, 3_920_000]);
    expect(at(60, { rungs: [{ height: 720, bitrateBps: 2_000_000 }] })).toBe(2_000_000);
  });

  it('saves effort step by step: preset, frame rate, then the highest rungs', () => {
    const source = { video: video(1920, 1080, 60), audio: stereo };
    const ladder: LadderSettings = { preset: 'fast' };
    const at = (economy: number) => plan(source, ladder, { economy });
    expect(at(1).preset).toBe('ultrafast');
    expect(at(1).renditions[0]).toMatchObject({ frameRate: { numerator: 60 } });
    expect(at(2).renditions[0]).toMatchObject({ id: '1080p', frameRate: { numerator: 30, denominator: 1 } });
    expect(at(2).grid.partTargetMs).toBe(at(0).grid.partTargetMs);
    expect(at(4).renditions.map((one) => one.id)).toEqual(['480p', '360p', 'audio']);
    expect(at(8).renditions.map((one) => one.id)).toEqual(['360p', 'audio']);
  });

  it('refuses durations that do not fit, naming some that do', () => {
    const attempt = () =>
      plan({ video: video(640, 360, 25) }, {}, { segmentDurationMs: 1500, partDurationMs: 200 });
    expect(attempt).toThrow(
      expect.objectContaining({ code: 'grid_impossible', message: expect.stringContaining('280 ms') }),
    );
  });
});
