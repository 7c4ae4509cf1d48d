import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FakePublish, liveEncoderArgs, makeFlvClip } from '#tests/support/flv-source.ts';
import type { SunkPart, SunkTimeline } from '#tests/support/part-sink.ts';
import {
  hasBoxes,
  nalTypesOf,
  nameOf,
  probeFile,
  runProgram,
  samplesOf,
  startTranscode,
  withFiles,
  type TranscodeHarness,
} from '#tests/support/transcode-harness.ts';
import type { LadderSettings } from '#protocol/ingest/publish-session.ts';
import { requireFfmpeg } from '#transcoder/ladder/ffmpeg-capabilities.ts';

const IDR = 5;
const SMALL: LadderSettings = {
  rungs: [
    { height: 360, bitrateBps: 700_000 },
    { height: 180, bitrateBps: 250_000 },
  ],
};
let harness: TranscodeHarness | undefined;

beforeAll(requireFfmpeg);
afterEach(async () => {
  await harness?.close();
  harness = undefined;
});

type SourceCase = {
  readonly what: string;
  readonly clip: Parameters<typeof liveEncoderArgs>[0];
  readonly ladder?: LadderSettings;
  readonly partDurationMs?: number;
  readonly expected: readonly string[];
  /** Frames of a segment; 0 for audio alone. */
  readonly frames: number;
};

const CASES: readonly SourceCase[] = [
  { what: '24 fps', clip: { fps: '24' }, expected: ['360p 640x360', '180p 320x180', 'audio 2'], frames: 48 },
  { what: '25 fps', clip: { fps: '25' }, expected: ['360p 640x360', '180p 320x180', 'audio 2'], frames: 50 },
  {
    what: '29.97 fps',
    clip: { fps: '30000/1001' },
    expected: ['360p 640x360', '180p 320x180', 'audio 2'],
    frames: 60,
  },
  {
    what: '30 fps in parts of 0.2 s',
    clip: { fps: '30' },
    partDurationMs: 200,
    expected: ['360p 640x360', '180p 320x180', 'audio 2'],
    frames: 60,
  },
  { what: '50 fps', clip: { fps: '50' }, expected: ['360p 640x360', '180p 320x180', 'audio 2'], frames: 100 },
  {
    what: '59.94 fps',
    clip: { fps: '60000/1001' },
    expected: ['360p 640x360', '180p 320x180', 'audio 2'],
    frames: 120,
  },
  { what: '60 fps', clip: { fps: '60' }, expected: ['360p 640x360', '180p 320x180', 'audio 2'], frames: 120 },
  {
    what: 'B-frames',
    clip: { video: ['-bf', '2'] },
    expected: ['360p 640x360', '180p 320x180', 'audio 2'],
    frames: 60,
  },
  {
    what: 'portrait',
    clip: { size: '360x640' },
    expected: ['360p 360x640', '180p 180x320', 'audio 2'],
    frames: 60,
  },
  {
    what: 'an odd size in 4:4:4',
    clip: {
      size: '427x241',
      video: ['-vf', 'scale=427:241,setsar=1,format=yuv444p', '-pix_fmt', 'yuv444p', '-profile:v', 'high444'],
    },
    expected: ['180p 318x180', 'audio 2'],
    frames: 60,
  },
  {
    what: 'a picture smaller than every rung',
    clip: { size: '160x120' },
    expected: ['120p 160x120', 'audio 2'],
    frames: 60,
  },
  {
    what: 'mono at 44.1 kHz',
    clip: { audio: ['-ac', '1'] },
    expected: ['360p 640x360', '180p 320x180', 'audio 1'],
    frames: 60,
  },
  { what: 'no audio', clip: { audio: null }, expected: ['360p 640x360', '180p 320x180'], frames: 60 },
  { what: 'audio alone', clip: { video: null }, expected: ['audio 2'], frames: 0 },
  {
    what: 'a copied rendition',
    clip: {},
    ladder: { ...SMALL, copy: true },
    expected: ['source 640x360', '360p 640x360', '180p 320x180', 'audio 2'],
    frames: 60,
  },
  {
    what: 'nothing but a copied rendition',
    clip: { audio: null },
    ladder: { copy: true, rungs: [] },
    expected: ['source 640x360'],
    frames: 60,
  },
];

describe('a broadcast becomes parts on the grid', () => {
  it.each(CASES)('from $what', async ({ clip, ladder, partDurationMs, expected, frames }) => {
    const packets = await makeFlvClip(liveEncoderArgs({ seconds: 5, ...clip }));
    const publish = new FakePublish(packets, {
      speed: 2,
      ladder: ladder ?? SMALL,
      ...(partDurationMs === undefined ? {} : { partDurationMs }),
    });
    harness = await startTranscode(publish);
    await harness.done;
    const { sink } = harness;
    expect(sink.timelines.length).toBe(1);
    const timeline = sink.timelines[0] as SunkTimeline;
    const { renditions, segmentDuration, partsPerSegment } = timeline.presentation;
    const described = renditions.map((one) =>
      one.kind === 'video' ? `${one.id} ${one.width}x${one.height}` : `${one.id} ${one.channels}`,
    );
    expect(described).toEqual(expected);

    const numbers = renditions.map((one) => sink.partsOf(one.id).map((part) => nameOf(part, timeline)));
    const count = numbers[0]?.length ?? 0;
    expect(count).toBeGreaterThanOrEqual(2 * partsPerSegment + 1);
    expect(numbers[0]).toEqual(
      Array.from(
        { length: count },
        (_, cell) => `${Math.floor(cell / partsPerSegment)}.${cell % partsPerSegment}`,
      ),
    );
    for (const others of numbers) expect(others).toEqual(numbers[0]);

    const segmentS = segmentDuration.ticks / segmentDuration.timescale;
    for (const rendition of renditions) {
      const parts = sink.partsOf(rendition.id);
      expectPartsOnGrid(parts, timeline, rendition.timescale);
      const probed = await probeFile(sink.fileOf(rendition.id));
      expect(probed.complaints).toBe('');
      expect(probed.packets).toBe(parts.reduce((sum, part) => sum + samplesOf(part).length, 0));
      const starts = Array.from(
        { length: Math.ceil(probed.packets / Math.max(1, frames)) },
        (_, at) => at * segmentS,
      );
      const keyTimesS = rendition.kind === 'video' ? starts : probed.keyTimesS;
      expect(probed.keyTimesS.map((at) => at.toFixed(3))).toEqual(keyTimesS.map((at) => at.toFixed(3)));
      const firsts = parts.filter((part) => part.part === 0);
      expect(firsts.every((part) => part.independent)).toBe(true);
      expect(rendition.kind === 'audio' || firsts.every((part) => startsWithIdr(part))).toBe(true);
    }
  });

  it('keeps picture and sound together', async () => {
    const flash = "drawbox=color=white:t=fill:enable='lt(mod(t,1),0.2)'";
    const beep = 'aevalsrc=sin(2*PI*1000*t)*lt(mod(t\\,1)\\,0.2):s=44100:d=6';
    const inputs = [
      ['-f', 'lavfi', '-i', `color=black:s=320x180:r=30:d=6,${flash}`],
      ['-f', 'lavfi', '-i', beep],
    ];
    const encoders = ['-c:v', 'libx264', '-preset', 'ultrafast', '-g', '60', '-bf', '2', '-c:a', 'aac'];
    const packets = await makeFlvClip([...inputs.flat(), ...encoders]);
    harness = await startTranscode(new FakePublish(packets, { speed: 2, ladder: SMALL }));
    await harness.done;
    const { sink } = harness;
    const flashes = await flashTimes(sink.fileOf('180p'));
    const beeps = await beepTimes(sink.fileOf('audio'));
    expect(flashes.length).toBeGreaterThanOrEqual(5);
    const offsetsMs = flashes.map((at, index) => (at - (beeps[index] ?? Infinity)) * 1000);
    expect(Math.max(...offsetsMs.map(Math.abs))).toBeLessThanOrEqual(40);
  });

  it('says when the broadcaster sent media time 0, not when it came out', async () => {
    const packets = await makeFlvClip(liveEncoderArgs({ seconds: 3 }));
    const startedUtcMs = Date.now();
    harness = await startTranscode(new FakePublish(packets, { ladder: SMALL }));
    await harness.done;
    const { sink } = harness;
    const anchorUtcMs = sink.timelines[0]?.anchorUtcMs ?? 0;
    // Timers fire late, never early; the best packet decides.
    expect(anchorUtcMs).toBeGreaterThanOrEqual(startedUtcMs - 5);
    expect(anchorUtcMs).toBeLessThan(startedUtcMs + 150);
    for (const part of sink.partsOf('360p').filter((one) => !one.last)) {
      const endMs = ((part.startTicks + part.durationTicks) * 1000) / 30_000;
      // The last frame of a part comes in one frame before the part is over.
      expect(part.arrivalUtcMs - anchorUtcMs).toBeGreaterThan(endMs - 34 - 5);
      expect(part.arrivalUtcMs).toBeLessThanOrEqual(part.storedUtcMs);
    }
  });

  it('encodes the source rendition when its key frames do not lie on the grid', async () => {
    const packets = await makeFlvClip(liveEncoderArgs({ seconds: 12, gopFrames: 45 }));
    const ladder: LadderSettings = { copy: true, rungs: [] };
    harness = await startTranscode(new FakePublish(packets, { speed: 2, ladder }));
    await harness.done;
    const { sink } = harness;
    expect(sink.timelines.map((one) => one.presentation.renditions.map(({ id }) => id))).toEqual([
      ['source', 'audio'],
      ['source', 'audio'],
    ]);
    const encoded = sink.partsOf('source', 1).filter((part) => part.part === 0);
    expect(encoded.length).toBeGreaterThanOrEqual(2);
    expect(encoded.every((part) => startsWithIdr(part))).toBe(true);
    expect(sink.partsOf('source', 1)[0]?.msn).toBeGreaterThan(
      sink.partsOf('source', 0).at(-1)?.msn ?? Infinity,
    );
  });
});

/** Whole parts are 85–100 % of PART-TARGET, without a hole, each one moof and one mdat. */
function expectPartsOnGrid(parts: readonly SunkPart[], timeline: SunkTimeline, timescale: number): void {
  const { partTargetMs, partsPerSegment } = timeline.presentation;
  const lengthsMs = parts.slice(0, -1).map((part) => (part.durationTicks * 1000) / timescale);
  expect(Math.max(...lengthsMs)).toBeLessThanOrEqual(partTargetMs);
  expect(Math.min(...lengthsMs)).toBeGreaterThanOrEqual(partTargetMs * 0.85);
  const lasts: boolean[] = [];
  let nextTicks = 0;
  for (const part of parts) {
    const samples = samplesOf(part);
    expect(part.gap).toBe(false);
    expect(hasBoxes(part.bytes, ['moof', 'mdat'])).toBe(true);
    expect([part.startTicks, samples[0]?.startTicks]).toEqual([nextTicks, nextTicks]);
    expect(samples.reduce((sum, sample) => sum + sample.durationTicks, 0)).toBe(part.durationTicks);
    // Whether the very last part is known to be one depends on where the input ends.
    if (part !== parts.at(-1)) lasts.push(part.last === (part.part === partsPerSegment - 1));
    nextTicks += part.durationTicks;
  }
  expect(lasts).not.toContain(false);
}

function startsWithIdr(part: SunkPart): boolean {
  return nalTypesOf(samplesOf(part)[0]?.data ?? new Uint8Array()).includes(IDR);
}

/** Times at which the picture turns white. */
function flashTimes(file: Uint8Array): Promise<number[]> {
  return withFiles({ 'video.mp4': file }, async (pathOf) => {
    const source = `movie=${pathOf('video.mp4')},signalstats`;
    const shown = 'frame=pts_time:frame_tags=lavfi.signalstats.YAVG';
    const args = ['-v', 'error', '-f', 'lavfi', '-i', source, '-show_entries', shown, '-of', 'csv=p=0'];
    const { stdout } = await runProgram('ffprobe', args);
    const frames = stdout
      .trim()
      .split('\n')
      .map((line) => line.split(',').map(Number));
    return risingEdges(frames.map(([at = 0, luma = 0]) => ({ at, on: luma > 128 })));
  });
}

/** Times at which the tone begins; it is there from the start. */
function beepTimes(file: Uint8Array): Promise<number[]> {
  return withFiles({ 'audio.mp4': file }, async (pathOf) => {
    const filter = 'silencedetect=noise=-30dB:d=0.3';
    const { stderr } = await runProgram('ffmpeg', [
      '-hide_banner',
      '-nostats',
      '-i',
      pathOf('audio.mp4'),
      '-af',
      filter,
      '-f',
      'null',
      '-',
    ]);
    return [0, ...[...stderr.matchAll(/silence_end: ([\d.]+)/g)].map((match) => Number(match[1]))];
  });
}

/** When something goes on that was off before. */
function risingEdges(states: readonly { at: number; on: boolean }[]): number[] {
  return states.filter(({ on }, index) => on && states[index - 1]?.on !== true).map(({ at }) => at);
}
