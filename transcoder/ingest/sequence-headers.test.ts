import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSameVideo, readAudioHeader, readVideoHeader, SequenceHeaderError } from './sequence-headers.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');

/** Sequence headers as x264 writes them. */
const BASELINE_360P = '0142c01effe100196742c01eda0280bfe5c044000003000400000300f03c58ba8001000468ce0fc8';
const HIGH_1080P =
  '01640028ffe1001b67640028acd940780227e5c044000003000400000300f03c60c65801000468ef8fcbfdf8f800';
const REAL: [name: string, hex: string, codec: string, width: number, height: number][] = [
  ['baseline 640x360, cropped', BASELINE_360P, 'avc1.42c01e', 640, 360],
  [
    'main 1280x720',
    '014d401fffe10019674d401feca02802dd8088000003000800000301e078c18cb001000468ef8fc8',
    'avc1.4d401f',
    1280,
    720,
  ],
  ['high 1920x1080, cropped', HIGH_1080P, 'avc1.640028', 1920, 1080],
  [
    'high 854x480, cropped at the side',
    '0164001fffe1001a6764001facd940d83de6f0110000030001000003003c0f18319601000468ef8fcbfdf8f800',
    'avc1.64001f',
    854,
    480,
  ],
  [
    'portrait 406x720',
    '0164001effe1001a6764001eacd941a05be6f0110000030001000003003c0f162d9601000468ef8fcbfdf8f800',
    'avc1.64001e',
    406,
    720,
  ],
  [
    '4:4:4',
    '01f4001effe1001b67f4001e919b281405ff138088000003000800000301e078b16cb001000668ef8f192190fff8f800',
    'avc1.f4001e',
    640,
    360,
  ],
  [
    '4:2:2 640x362',
    '017a001effe1001a677a001ebcd940a02ff9f0110000030001000003003c0f162d9601000468ef8fcbfef8f800',
    'avc1.7a001e',
    640,
    362,
  ],
  [
    'interlaced 1920x1080',
    '01640028ffe1001a67640028acd94078044fde0220000003002000000783e2c5b2c001000468fe8fcbfdf8f800',
    'avc1.640028',
    1920,
    1080,
  ],
  [
    'monochrome',
    '0164000dffe100196764000df3650507ec05b2000003000200000300781e28532c01000468ef8fcbfcf8f800',
    'avc1.64000d',
    320,
    240,
  ],
];

describe('ISO/IEC 14496-15 §5.3.3.1 AVCDecoderConfigurationRecord', () => {
  it.each(REAL)('reads %s', (_name, hex, codec, width, height) => {
    expect(readVideoHeader(bytes(hex))).toEqual({ codec, width, height });
  });

  it.each([
    ['nothing', ''],
    ['another version', `00${BASELINE_360P.slice(2)}`],
    ['a header alone', '0142c01eff'],
    ['no sequence parameter set', '0142c01effe000'],
    ['a parameter set cut short', BASELINE_360P.slice(0, 40)],
    ['no picture parameter sets', BASELINE_360P.slice(0, BASELINE_360P.indexOf('01000468'))],
    ['an empty parameter set', '0142c01effe1000001000468ce0fc8'],
  ])('refuses %s', (_name, hex) => {
    expect(() => readVideoHeader(bytes(hex))).toThrow(SequenceHeaderError);
  });

  it('takes or refuses every mutation of a record, and nothing else happens', () => {
    const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() & 0x7fffffff);
    const record = bytes(HIGH_1080P);
    const outcomes = { taken: 0, refused: 0 };
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(record.length - 1), fc.nat(255)), { maxLength: 4 }),
        fc.integer({ min: record.length - 8, max: record.length }),
        (changes, length) => {
          const mutated = Buffer.from(record.subarray(0, length));
          for (const [at, value] of changes) if (at < length) mutated[at] = value;
          try {
            readVideoHeader(mutated);
            isSameVideo(record, mutated);
            outcomes.taken++;
          } catch (error) {
            if (!(error instanceof SequenceHeaderError)) throw error;
            outcomes.refused++;
          }
        },
      ),
      { seed, numRuns: 10_000 },
    );
    expect(Math.min(outcomes.taken, outcomes.refused), `seed ${seed}`).toBeGreaterThan(0);
  });
});

describe('a sequence header that comes again', () => {
  it('is the same when only its reserved bits or extensions differ', () => {
    const plain = bytes(HIGH_1080P);
    const withoutExtension = plain.subarray(0, plain.length - 4);
    const otherReserved = Buffer.from(plain);
    otherReserved[4] = 0x03;
    expect(isSameVideo(plain, Buffer.from(plain))).toBe(true);
    expect(isSameVideo(plain, withoutExtension)).toBe(true);
    expect(isSameVideo(plain, otherReserved)).toBe(true);
  });

  it('is another one when a parameter set or the length size differs', () => {
    const plain = bytes(HIGH_1080P);
    const otherPps = Buffer.from(plain);
    otherPps[plain.length - 5] = 0;
    const otherLengthSize = Buffer.from(plain);
    otherLengthSize[4] = 0xfd;
    expect(isSameVideo(plain, bytes(BASELINE_360P))).toBe(false);
    expect(isSameVideo(plain, otherPps)).toBe(false);
    expect(isSameVideo(plain, otherLengthSize)).toBe(false);
  });
});

describe('ISO/IEC 14496-3 §1.6.2.1 AudioSpecificConfig', () => {
  it.each([
    ['AAC-LC 48 kHz stereo', '1190', 'mp4a.40.2'],
    ['AAC-LC 44.1 kHz mono', '1208', 'mp4a.40.2'],
    ['AAC-LC with a sync extension', '119056e500', 'mp4a.40.2'],
    ['HE-AAC, signalled', '2b92080000', 'mp4a.40.5'],
    ['HE-AAC v2, signalled', 'eb8a080000', 'mp4a.40.29'],
    ['AAC-LC with its own frequency', '1780560010', 'mp4a.40.2'],
    ['xHE-AAC behind the escape', 'f94640', 'mp4a.40.42'],
  ])('names %s', (_name, hex, codec) => {
    expect(readAudioHeader(Buffer.from(hex, 'hex'))).toBe(codec);
  });

  it.each([
    ['nothing', ''],
    ['one byte', '11'],
    ['no object type', '0190'],
    ['a reserved frequency', '1690'],
    ['a frequency cut short', '1780'],
  ])('refuses %s', (_name, hex) => {
    expect(() => readAudioHeader(Buffer.from(hex, 'hex'))).toThrow(SequenceHeaderError);
  });
});
