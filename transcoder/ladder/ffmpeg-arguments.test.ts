import { describe, expect, it } from 'vitest';
import { ffmpegArguments } from '#transcoder/ladder/ffmpeg-arguments.ts';
import { planLadder } from '#transcoder/ladder/ladder-plan.ts';
import type { SourceProfile } from '#transcoder/ladder/source-profile.ts';

const VIDEO = {
  width: 1280,
  height: 720,
  codedWidth: 1280,
  codedHeight: 720,
  frameRate: { numerator: 30_000, denominator: 1001 },
  bitrateBps: undefined,
  configuration: new Uint8Array(),
};
const AUDIO = { sampleRateHz: 44_100, channels: 1 };

function commandFor(source: SourceProfile, copy = false) {
  const plan = planLadder({
    source,
    ladder: copy ? { copy } : {},
    segmentDurationMs: 2000,
    partDurationMs: 333,
    economy: 0,
    copyAllowed: true,
    defaults: {
      rungs: [
        { height: 720, bitrateBps: 2_800_000 },
        { height: 360, bitrateBps: 700_000 },
      ],
      preset: 'superfast',
      presetLarge: 'ultrafast',
      largePixelRate: 75_000_000,
      audioBitrateBps: 128_000,
    },
  });
  const targets = plan.renditions
    .filter((rendition) => rendition.mode === 'encode')
    .map((rendition) => ({ rendition, socketPath: `/tmp/x/${rendition.id}.sock` }));
  return ffmpegArguments(plan, targets);
}
const valueOf = (options: readonly string[], name: string): string | undefined =>
  options[options.indexOf(name) + 1];

describe('ffmpegArguments', () => {
  it('decodes once and gives every rendition an output of its own', () => {
    const command = commandFor({ video: VIDEO, audio: AUDIO });
    expect(command.complexFilter).toBe(
      '[0:v:0]split=2[s0][s1];' +
        '[s0]scale=1280:720:flags=bilinear,setsar=1,format=yuv420p[v0];' +
        '[s1]scale=640:360:flags=bilinear,setsar=1,format=yuv420p[v1]',
    );
    expect(command.outputs.map((output) => output.target)).toEqual([
      'unix:/tmp/x/720p.sock',
      'unix:/tmp/x/360p.sock',
      'unix:/tmp/x/audio.sock',
    ]);
    expect(command.outputs.map((output) => valueOf(output.options, '-map'))).toEqual([
      '[v0]',
      '[v1]',
      '0:a:0',
    ]);
  });

  it('cuts all video renditions at the same frames', () => {
    const videos = commandFor({ video: VIDEO, audio: AUDIO }).outputs.slice(0, 2);
    for (const { options } of videos) {
      expect(valueOf(options, '-g')).toBe('60');
      expect(valueOf(options, '-keyint_min')).toBe('60');
      expect(valueOf(options, '-force_key_frames')).toBe('expr:eq(mod(n,60),0)');
      expect(valueOf(options, '-r')).toBe('30000/1001');
      expect(valueOf(options, '-video_track_timescale')).toBe('30000');
    }
  });

  it('maps only tracks that are there: an optional map would invent one', () => {
    expect(commandFor({ video: VIDEO }).outputs.length).toBe(2);
    const audioOnly = commandFor({ audio: AUDIO });
    expect(audioOnly.complexFilter).toBeUndefined();
    expect(audioOnly.outputs.map((output) => valueOf(output.options, '-ac'))).toEqual(['1']);
    const everything = commandFor({ video: VIDEO, audio: AUDIO }).outputs.flatMap((output) => output.options);
    expect(everything.some((option) => option.endsWith('?'))).toBe(false);
  });

  it('lets the input open nothing', () => {
    const { inputOptions } = commandFor({ video: VIDEO });
    expect(valueOf(inputOptions, '-protocol_whitelist')).toBe('pipe');
    expect(valueOf(inputOptions, '-f')).toBe('flv');
  });

  it('leaves a copied rendition out', () => {
    expect(commandFor({ video: VIDEO, audio: AUDIO }, true).outputs.map((output) => output.target)).toEqual([
      'unix:/tmp/x/720p.sock',
      'unix:/tmp/x/360p.sock',
      'unix:/tmp/x/audio.sock',
    ]);
  });
});
