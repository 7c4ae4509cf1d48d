import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { IngestPacket } from './incoming-publish.ts';
import {
  encodeRelayFrame,
  RELAY_FRAME_BYTES_MAX,
  RelayFrameDecoder,
  RelayFrameError,
  type RelayFrame,
} from './relay-frames.ts';

const body = fc.uint8Array({ maxLength: 4_096 });
const time = fc.integer({ min: 0, max: 2 ** 45 });
const packet: fc.Arbitrary<IngestPacket> = fc.oneof(
  fc.record({
    kind: fc.constant('video'),
    sequenceHeader: fc.boolean(),
    keyframe: fc.boolean(),
    dtsMs: time,
    compositionOffsetMs: fc.integer({ min: -0x800000, max: 0x7fffff }),
    arrivalUtcMs: time,
    flvBody: body,
  }),
  fc.record({
    kind: fc.constant('audio'),
    sequenceHeader: fc.boolean(),
    dtsMs: time,
    arrivalUtcMs: time,
    flvBody: body,
  }),
  fc.record({
    kind: fc.constant('metadata'),
    values: fc.dictionary(
      fc.string(),
      fc.oneof(
        fc.double({ noNaN: true, noDefaultInfinity: true }).filter((n) => !Object.is(n, -0)),
        fc.string(),
        fc.boolean(),
      ),
    ),
  }),
  fc.record({ kind: fc.constant('break'), reason: fc.constantFrom('timestamp_jump', 'codec_change') }),
);
const frame: fc.Arbitrary<RelayFrame> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ type: fc.constant('packet'), packet }) },
  fc.record({ type: fc.constant('subscribe'), sessionId: fc.uuid() }),
  fc.record({ type: fc.constant('end'), reason: fc.constantFrom('unpublished', 'lost', 'revoked', 'error') }),
  fc.record({
    type: fc.constant('error'),
    code: fc.constantFrom('session_unknown', 'reader_too_slow', 'readers_exceeded'),
  }),
);

/** Bytes and Buffers compare as what they hold. */
const plain = (frames: readonly RelayFrame[]): unknown =>
  JSON.parse(
    JSON.stringify(frames, (_name, value: unknown) => (value instanceof Uint8Array ? [...value] : value), 0),
    (_name, value: { type?: string; data?: number[] } | null) =>
      value?.type === 'Buffer' ? value.data : value,
  );

describe('relay frames', () => {
  it('are the same however their bytes are split', () => {
    const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() & 0x7fffffff);
    fc.assert(
      fc.property(
        fc.array(frame, { minLength: 1, maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 40 }),
        (frames, sizes) => {
          const bytes = Buffer.concat(frames.map(encodeRelayFrame));
          const decoder = new RelayFrameDecoder();
          const decoded: RelayFrame[] = [];
          for (let offset = 0, piece = 0; offset < bytes.length; piece++) {
            const size = sizes[piece % sizes.length] ?? 1;
            decoded.push(...decoder.push(bytes.subarray(offset, offset + size)));
            offset += size;
          }
          expect(plain(decoded), `seed ${seed}`).toEqual(plain(frames));
          expect(decoder.isInsideFrame).toBe(false);
        },
      ),
      { seed, numRuns: 300 },
    );
  });

  it('do not share memory with the bytes they came in', () => {
    const packetIn: IngestPacket = {
      kind: 'audio',
      sequenceHeader: false,
      dtsMs: 1,
      arrivalUtcMs: 2,
      flvBody: Buffer.from([0xaf, 1, 9]),
    };
    const bytes = encodeRelayFrame({ type: 'packet', packet: packetIn });
    const [decoded] = [...new RelayFrameDecoder().push(bytes)];
    bytes.fill(0);
    expect(decoded).toMatchObject({ packet: { flvBody: Buffer.from([0xaf, 1, 9]) } });
  });

  it.each([
    ['a length of 0', '00000000'],
    ['a length over the limit', (RELAY_FRAME_BYTES_MAX + 1).toString(16).padStart(8, '0')],
    ['a length of 4 GiB', 'ffffffff'],
    ['an unknown type', '0000000163'],
    ['a video frame cut short', '000000030200ff'],
    ['an audio frame cut short', '000000030300ff'],
    ['an end without a known reason', '000000030661aa'],
    ['metadata that are not JSON', '000000020478'],
    ['metadata that are a list', '00000003045b5d'],
    ['metadata with an inner object', `0000000904${Buffer.from('{"a":{}}').toString('hex')}`],
  ])('with %s are refused', (_name, hex) => {
    expect(() => [...new RelayFrameDecoder().push(Buffer.from(hex, 'hex'))]).toThrow(RelayFrameError);
  });

  it('over the limit of their reader are refused before memory is taken for them', () => {
    const decoder = new RelayFrameDecoder(64);
    expect(() => [...decoder.push(Buffer.from('00000041', 'hex'))]).toThrow(RelayFrameError);
  });
});
