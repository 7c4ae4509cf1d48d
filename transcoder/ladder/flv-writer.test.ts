import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readFlv } from '#tests/support/flv-source.ts';
import { FLV_TAG, FLV_TIMESTAMP_MAX_MS, flvHeader, flvTag } from '#transcoder/ladder/flv-writer.ts';

describe('FLV §E.2 The FLV header', () => {
  it.each([
    [true, true, 5],
    [true, false, 1],
    [false, true, 4],
  ])('announces video %s and audio %s as they come', (video, audio, flags) => {
    expect([...flvHeader({ video, audio })]).toEqual([0x46, 0x4c, 0x56, 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]);
  });
});

describe('FLV §E.4 FLV tags', () => {
  it('are read back as they were written', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            dtsMs: fc.integer({ min: 0, max: FLV_TIMESTAMP_MAX_MS }),
            frame: fc.uint8Array({ maxLength: 50 }),
          }),
          { maxLength: 10 },
        ),
        (frames) => {
          const bodies = frames.map(({ frame }) => Uint8Array.from([0xaf, 1, ...frame]));
          const bytes = Buffer.concat([
            flvHeader({ video: false, audio: true }),
            ...bodies.map((body, index) => flvTag(FLV_TAG.audio, frames[index]?.dtsMs ?? 0, body)),
          ]);
          expect(readFlv(bytes)).toEqual(
            bodies.map((flvBody, index) => ({
              kind: 'audio',
              sequenceHeader: false,
              dtsMs: frames[index]?.dtsMs,
              arrivalUtcMs: 0,
              flvBody,
            })),
          );
        },
      ),
    );
  });

  it.each([-1, 0.5, FLV_TIMESTAMP_MAX_MS + 1])('cannot say %d ms', (timestampMs) => {
    expect(() => flvTag(FLV_TAG.video, timestampMs, new Uint8Array(1))).toThrow(RangeError);
  });

  it('cannot hold more than 24 bits of bytes', () => {
    expect(() => flvTag(FLV_TAG.video, 0, new Uint8Array(2 ** 24))).toThrow(RangeError);
  });
});
