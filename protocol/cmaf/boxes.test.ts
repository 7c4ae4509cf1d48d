import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { BoxSplitter } from '#protocol/cmaf/box-splitter.ts';
import { boxesIn, makeBox, requireBox, u32 } from '#protocol/cmaf/boxes.ts';
import { CmafError } from '#protocol/cmaf/cmaf-error.ts';

// What ffmpeg 5.1 writes with the arguments of transcoder/ladder: 96 × 64 at 29.97 fps for 2.2 s.
const stream = readFileSync(new URL('fixtures/encoder-video.mp4', import.meta.url));

const codeOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof CmafError) return error.code;
    throw error;
  }
  return 'no error';
};

describe('§4.2 boxes', () => {
  it('reads boxes one after another and finds nested ones', () => {
    const types = [...boxesIn(stream)].map((box) => box.type);
    expect(types.slice(0, 4)).toEqual(['ftyp', 'moov', 'moof', 'mdat']);
    expect(requireBox(stream, ['moov', 'trak', 'mdia', 'mdhd']).bytes.length).toBe(32);
  });

  it.each([
    ['box_size_invalid', 'a size below the header', u32(4, 0x6d6f6f66)],
    ['box_size_invalid', 'a size beyond the end', u32(9, 0x6d6f6f66)],
    ['box_size_invalid', 'a 64-bit size', u32(1, 0x6d646174, 0, 16)],
    ['box_size_invalid', 'bytes after the last box', new Uint8Array(5)],
    ['box_unexpected', 'a type that is not text', u32(8, 0x00000001)],
  ])('refuses with %s %s', (code, _what, bytes) => {
    expect(codeOf(() => [...boxesIn(bytes)])).toBe(code);
  });

  it('names the box that is missing', () => {
    expect(() => requireBox(stream, ['moov', 'trak', 'edts'])).toThrow("no 'edts' in 'moov/trak/edts'");
  });
});

describe('BoxSplitter', () => {
  const whole = [...boxesIn(stream)].map((box) => Buffer.from(box.bytes).toString('base64'));

  it('gives the same boxes for any split of the bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: stream.length }), { maxLength: 60 }), (cuts) => {
        const splitter = new BoxSplitter();
        const edges = [0, ...cuts.sort((a, b) => a - b), stream.length];
        const boxes = edges.slice(1).flatMap((to, index) => splitter.push(stream.subarray(edges[index], to)));
        expect(boxes.map((box) => Buffer.from(box.bytes).toString('base64'))).toEqual(whole);
        expect(splitter.pendingBytes).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it('gives the same boxes byte by byte', () => {
    const splitter = new BoxSplitter();
    const boxes = Array.from(stream, (_, index) => splitter.push(stream.subarray(index, index + 1))).flat();
    expect(boxes.map((box) => Buffer.from(box.bytes).toString('base64'))).toEqual(whole);
  });

  it('does not hand out memory that the next chunk overwrites', () => {
    const splitter = new BoxSplitter();
    const chunk = Uint8Array.from(makeBox('free', Uint8Array.of(1, 2, 3)));
    const [box] = splitter.push(chunk);
    chunk.fill(0xff);
    expect(box?.payload).toEqual(Uint8Array.of(1, 2, 3));
  });

  it.each([
    ['box_unexpected', 'a box that has no place in a track', makeBox('uuid')],
    ['box_unexpected', 'a type that is not text', u32(8, 0x01020304)],
    ['box_size_invalid', 'a size below the header', u32(7, 0x6d6f6f66)],
    ['box_size_invalid', 'a size over the limit', u32(0xffff_ffff, 0x6d646174)],
  ])('refuses with %s %s, as soon as its header is in', (code, _what, bytes) => {
    expect(codeOf(() => new BoxSplitter().push(bytes))).toBe(code);
  });

  it('either takes random damage or throws a CmafError, never anything else', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 3000 }),
        fc.uint8Array({ minLength: 1, maxLength: 8 }),
        (at, damage) => {
          const bytes = Uint8Array.from(stream.subarray(0, 4000));
          bytes.set(damage.subarray(0, bytes.length - at), at);
          expect(['no error', 'box_unexpected', 'box_size_invalid']).toContain(
            codeOf(() => new BoxSplitter().push(bytes)),
          );
        },
      ),
      { numRuns: 300 },
    );
  });
});
