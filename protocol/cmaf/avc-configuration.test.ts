import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAudioSpecificConfig } from '#protocol/cmaf/audio-specific-config.ts';
import { parseAvcConfiguration } from '#protocol/cmaf/avc-configuration.ts';
import { CmafError } from '#protocol/cmaf/cmaf-error.ts';
import { avcCodecs, parseInitSegment } from '#protocol/cmaf/init-segment.ts';
import { writeAvcInitSegment } from '#protocol/cmaf/init-writer.ts';

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));

// Written by x264 through ffmpeg 5.1.
const CONFIGURATIONS = [
  {
    name: '720p30 with B-frames',
    record: '0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f183196001000468ef8fcbfdf8f800',
    expected: {
      profileIdc: 100,
      levelIdc: 31,
      width: 1280,
      height: 720,
      frameRate: { numerator: 30, denominator: 1 },
      reorderFrames: 2,
    },
  },
  {
    name: '1080p29.97, cropped',
    record: '01640028ffe1001967640028acd940780227e5c04400000fa40003a9803c60c65801000468ef8fcbfdf8f800',
    expected: { width: 1920, height: 1080, frameRate: { numerator: 30000, denominator: 1001 } },
  },
  {
    name: 'baseline 480p25',
    record: '0142c01effe100196742c01eda0360f79bc044000003000400000300c83c58ba8001000468ce0fc8',
    expected: {
      profileIdc: 66,
      constraintFlags: 0xc0,
      width: 854,
      height: 480,
      frameRate: { numerator: 25, denominator: 1 },
      reorderFrames: 0,
    },
  },
  {
    name: 'interlaced wide PAL with HRD',
    record:
      '0164001effe100276764001eacd940b424dff8020001688000000300800000193020007a12000f427261807c50a65801000568fbacb22cfdf8f800',
    expected: {
      width: 720,
      height: 576,
      sampleAspect: { numerator: 64, denominator: 45 },
      frameRate: { numerator: 25, denominator: 1 },
    },
  },
  {
    name: 'odd size in 4:4:4 with scaling lists',
    record:
      '01f40015ffe1001c67f40015919b282a10f0842180880000030008000003032078b16cb001000868ebe3c44c000440fff8f800',
    expected: { profileIdc: 244, width: 321, height: 241, frameRate: { numerator: 50, denominator: 1 } },
  },
  {
    name: 'portrait 720p60',
    record: '01640020ffe1001867640020acb2016814360220000003002000000f11e3064901000668ebc3cb22c0fdf8f800',
    expected: { width: 720, height: 1280, frameRate: { numerator: 60, denominator: 1 }, reorderFrames: 0 },
  },
];

describe('AVCDecoderConfigurationRecord', () => {
  it.each(CONFIGURATIONS)('reads $name', ({ record, expected }) => {
    expect(parseAvcConfiguration(hex(record))).toMatchObject(expected);
  });

  it.each([
    ['nothing', ''],
    [
      'another version',
      '0264001fffe100176764001facb402802dd808800001f480007530478c195001000468ef3cb0fdf8f800',
    ],
    ['no SPS', '0164001fffe0000000000000'],
    ['an SPS that is cut off', '0164001fffe100176764001facb4028'],
    ['a PPS where the SPS should be', '0164001fffe1000468ef3cb0'],
  ])('refuses %s', (_name, record) => {
    expect(() => parseAvcConfiguration(hex(record))).toThrow(CmafError);
  });

  it('never throws anything but a CmafError', () => {
    const record = hex(CONFIGURATIONS[0]?.record ?? '');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.integer({ min: 0, max: 20 }), (noise, keep) => {
        const bytes = Uint8Array.from([...record.subarray(0, keep), ...noise]);
        let outcome = 'no error';
        try {
          parseAvcConfiguration(bytes);
        } catch (error) {
          outcome = error instanceof CmafError ? 'CmafError' : String(error);
        }
        expect(['no error', 'CmafError']).toContain(outcome);
      }),
      { numRuns: 500 },
    );
  });

  it('becomes an init segment that reads back', () => {
    const configuration = hex(CONFIGURATIONS[0]?.record ?? '');
    const init = writeAvcInitSegment({ timescale: 30_000, width: 1280, height: 720, configuration });
    expect(parseInitSegment(init)).toMatchObject({
      kind: 'video',
      trackId: 1,
      timescale: 30_000,
      width: 1280,
      height: 720,
      codecs: avcCodecs(configuration),
    });
  });
});

describe('AudioSpecificConfig', () => {
  it.each([
    ['AAC-LC, 48 kHz, stereo', '1190', { objectType: 2, sampleRateHz: 48_000, channels: 2 }],
    ['AAC-LC, 44.1 kHz, mono', '1208', { objectType: 2, sampleRateHz: 44_100, channels: 1 }],
    ['a rate of its own', '17805dc010', { objectType: 2, sampleRateHz: 48_000, channels: 2 }],
    ['7.1', '11b8', { objectType: 2, sampleRateHz: 48_000, channels: 8 }],
  ])('reads %s', (_name, config, expected) => {
    expect(parseAudioSpecificConfig(hex(config))).toEqual(expected);
  });

  it.each([
    ['nothing', ''],
    ['half of it', '11'],
    ['a reserved rate', '1688'],
    ['a reserved channel configuration', '11c0'],
  ])('refuses %s', (_name, config) => {
    expect(() => parseAudioSpecificConfig(hex(config))).toThrow(CmafError);
  });
});
