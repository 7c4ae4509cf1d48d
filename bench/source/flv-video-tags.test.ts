import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FlvVideoTagCounter } from '#bench/source/flv-video-tags.ts';

function tag(type: number, body: number[]): number[] {
  const size = body.length;
  return [type, size >> 16, (size >> 8) & 255, size & 255, 0, 0, 0, 0, 0, 0, 0, ...body, 0, 0, 0, size + 11];
}

const stream = Uint8Array.from([
  ...Buffer.from('FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00', 'latin1'),
  ...tag(18, [2, 0, 1, 1]),
  ...tag(9, [0x17, 0, 0, 0, 0, 1]),
  ...tag(8, [0xaf, 0, 1]),
  ...tag(9, [0x17, 1, 0, 0, 0, 9, 9, 9]),
  ...tag(8, [0xaf, 1, 7]),
  ...tag(9, [0x27, 1, 0, 0, 0, 8]),
  ...tag(9, [0x17, 2, 0, 0, 0]),
]);

describe('FlvVideoTagCounter', () => {
  it('counts frames, not headers, sound or the end of the sequence, however the bytes are split', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 60 }), (steps) => {
        const frames: number[] = [];
        const counter = new FlvVideoTagCounter((index) => frames.push(index));
        let offset = 0;
        for (let turn = 0; offset < stream.length; turn++) {
          const step = steps[turn % steps.length] ?? 1;
          counter.push(stream.subarray(offset, offset + step));
          offset += step;
        }
        expect(frames).toEqual([0, 1]);
      }),
    );
  });
});
