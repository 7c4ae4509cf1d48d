import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { boxesIn, makeBox, makeFullBox, u32 } from '#protocol/cmaf/boxes.ts';
import { parseInitSegment } from '#protocol/cmaf/init-segment.ts';
import { planGrid } from '#protocol/cmaf/part-grid.ts';
import { TranscodeError } from '#transcoder/transcode-error.ts';
import type { CutInit, CutPart } from '#transcoder/cutter/cut-part.ts';
import { EncodedTrack } from '#transcoder/cutter/encoded-track.ts';
import { TrackCutter } from '#transcoder/cutter/track-cutter.ts';
import type { PlannedRendition } from '#transcoder/ladder/ladder-plan.ts';

const fixture = (name: string): Uint8Array =>
  Uint8Array.from(readFileSync(new URL(`../../protocol/cmaf/fixtures/${name}`, import.meta.url)));
const FRAME_RATE = { numerator: 30_000, denominator: 1001 };
const VIDEO: PlannedRendition = {
  kind: 'video',
  id: '64p',
  mode: 'encode',
  width: 96,
  height: 64,
  bitrateBps: 20_000,
  frameRate: FRAME_RATE,
  timescale: 30_000,
  frameTicks: 1001,
};
const AUDIO: PlannedRendition = {
  kind: 'audio',
  id: 'audio',
  mode: 'encode',
  channels: 1,
  sampleRateHz: 48_000,
  bitrateBps: 16_000,
  timescale: 48_000,
  frameTicks: 1024,
};
const GRID = planGrid({
  segmentDurationMs: 2000,
  partDurationMs: 333,
  frameRate: FRAME_RATE,
  sampleRateHz: 48_000,
});

/** Everything that comes out of a rendition's bytes, given in these pieces. */
function cut(rendition: PlannedRendition, pieces: Iterable<Uint8Array>) {
  const parts: CutPart[] = [];
  const inits: CutInit[] = [];
  const cutter = new TrackCutter({
    rendition,
    grid: GRID,
    trackId: 1,
    arrivalBefore: () => 0,
    emit: (part) => parts.push(part),
  });
  const track = new EncodedTrack(rendition, {
    init: (init) => inits.push(init),
    sample: (sample) => cutter.push(sample),
  });
  for (const piece of pieces) track.push(piece);
  cutter.flush(true);
  return { parts, inits };
}
const codeOf = (rendition: PlannedRendition, bytes: Uint8Array): string => {
  try {
    cut(rendition, [bytes]);
  } catch (error) {
    if (error instanceof TranscodeError) return error.code;
    throw error;
  }
  return 'no error';
};

describe('EncodedTrack', () => {
  it('cuts what an encoder writes into parts of the grid', () => {
    const { parts, inits } = cut(VIDEO, [fixture('encoder-video.mp4')]);
    expect(inits).toMatchObject([{ renditionId: '64p', track: { codecs: 'avc1.64000A', width: 96 } }]);
    expect(parseInitSegment(inits[0]?.bytes ?? new Uint8Array())).toEqual(inits[0]?.track);
    expect(parts.map((part) => [part.segment, part.part, part.durationTicks / 1001, part.last])).toEqual([
      ...[0, 1, 2, 3, 4].map((part) => [0, part, 10, false]),
      [0, 5, 10, true],
      [1, 0, 6, true],
    ]);
    expect(parts.map((part) => part.independent)).toEqual([true, false, false, false, false, false, true]);
    expect(parts[0]?.startTicks).toBe(0);
  });

  it('leaves out the priming frame of audio and plays its last frame whole', () => {
    const { parts } = cut(AUDIO, [fixture('encoder-audio.mp4')]);
    expect(parts[0]?.startTicks).toBe(0);
    expect(parts.every((part) => part.durationTicks % 1024 === 0 && part.independent)).toBe(true);
  });

  it.each([VIDEO, AUDIO])('gives the same parts for any split of the bytes: $id', (rendition) => {
    const bytes = fixture(`encoder-${rendition.kind}.mp4`);
    const whole = cut(rendition, [bytes]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 40 }), (cuts) => {
        const edges = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        const pieces = edges.slice(1).map((to, index) => bytes.subarray(edges[index], to));
        expect(cut(rendition, pieces)).toEqual(whole);
      }),
      { numRuns: 30 },
    );
    expect(
      cut(
        rendition,
        Array.from(bytes, (_, at) => bytes.subarray(at, at + 1)),
      ),
    ).toEqual(whole);
  });

  const video = fixture('encoder-video.mp4');
  const boxes = [...boxesIn(video)];
  const bytesOf = (...indexes: readonly number[]): Uint8Array =>
    Uint8Array.from(Buffer.concat(indexes.map((index) => boxes[index]?.bytes ?? new Uint8Array())));

  it.each([
    ['a fragment before the init segment', bytesOf(2, 3)],
    ['a moov without ftyp', bytesOf(1)],
    ['two init segments', bytesOf(0, 1, 0, 1)],
    ['two moofs in a row', bytesOf(0, 1, 2, 2)],
    ['an mdat without moof', bytesOf(0, 1, 3)],
    ['a box that nobody ordered', Uint8Array.from([...bytesOf(0, 1), ...makeBox('mfra')])],
    ['a moof without a track', Uint8Array.from([...bytesOf(0, 1), ...makeBox('moof'), ...bytesOf(3)])],
    ['a part of a giant', Uint8Array.from([...bytesOf(0, 1), ...u32(0x7fff_ffff, 0x6d646174)])],
    ['no codec', Uint8Array.from([...bytesOf(0), ...makeBox('moov', makeFullBox('mvhd', 0, 0))])],
  ])('refuses %s', (_what, bytes) => {
    expect(codeOf(VIDEO, bytes)).toBe('fragment_invalid');
  });

  it('refuses what was not ordered', () => {
    expect(codeOf(VIDEO, fixture('encoder-audio.mp4'))).toBe('fragment_invalid');
    expect(codeOf({ ...VIDEO, timescale: 90_000 }, video)).toBe('fragment_invalid');
  });

  it('refuses frames that leave the grid', () => {
    expect(codeOf(VIDEO, bytesOf(0, 1, 2, 3, 6, 7))).toBe('timestamps_off_grid');
    expect(codeOf(VIDEO, bytesOf(0, 1, 4, 5))).toBe('timestamps_off_grid');
  });

  it('ends with a typed error, or none, whatever bytes are damaged', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4000 }), fc.integer({ min: 0, max: 255 }), (at, byte) => {
        const damaged = Uint8Array.from(video.subarray(0, 6000));
        damaged[at] = byte;
        expect(['no error', 'fragment_invalid', 'timestamps_off_grid']).toContain(codeOf(VIDEO, damaged));
      }),
      { numRuns: 400 },
    );
  });
});
