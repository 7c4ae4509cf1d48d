import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AvcConfigError, parseAvcConfig, pictureSize, sameAvcConfig } from './avc-config.ts';

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
    expect(parseAvcConfig(bytes(hex))).toEqual({ codec, width, height });
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
    expect(() => parseAvcConfig(bytes(hex))).toThrow(AvcConfigError);
  });

  it('gives no size for a parameter set that it cannot read', () => {
    const record = bytes('0142c01effe100036742c001000468ce0fc8');
    expect(parseAvcConfig(record)).toEqual({ codec: 'avc1.42c01e', width: null, height: null });
  });

  it('ends in time and within sane sizes for every mutation of a parameter set', () => {
    const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() & 0x7fffffff);
    const nal = bytes(HIGH_1080P).subarray(8, 8 + 0x1b);
    let understood = 0;
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(nal.length - 1), fc.nat(255)), { maxLength: 6 }),
        fc.nat(nal.length),
        (changes, length) => {
          const mutated = Buffer.from(nal.subarray(0, length));
          for (const [at, value] of changes) if (at < length) mutated[at] = value;
          const size = pictureSize(mutated);
          if (size === undefined) return true;
          understood++;
          return size.width > 0 && size.height > 0 && size.width <= 16_384 && size.height <= 16_384;
        },
      ),
      { seed, numRuns: 10_000 },
    );
    expect(understood, `seed ${seed}`).toBeGreaterThan(0);
  });
});

describe('a sequence header that comes again', () => {
  it('is the same when only its reserved bits or extensions differ', () => {
    const plain = bytes(HIGH_1080P);
    const withoutExtension = plain.subarray(0, plain.length - 4);
    const otherReserved = Buffer.from(plain);
    otherReserved[4] = 0x03;
    expect(sameAvcConfig(plain, Buffer.from(plain))).toBe(true);
    expect(sameAvcConfig(plain, withoutExtension)).toBe(true);
    expect(sameAvcConfig(plain, otherReserved)).toBe(true);
  });

  it('is another one when a parameter set or the length size differs', () => {
    const plain = bytes(HIGH_1080P);
    const otherPps = Buffer.from(plain);
    otherPps[plain.length - 5] = 0;
    const otherLengthSize = Buffer.from(plain);
    otherLengthSize[4] = 0xfd;
    expect(sameAvcConfig(plain, bytes(BASELINE_360P))).toBe(false);
    expect(sameAvcConfig(plain, otherPps)).toBe(false);
    expect(sameAvcConfig(plain, otherLengthSize)).toBe(false);
  });
});
