import { describe, expect, it } from 'vitest';
import { ascii, makeBox, makeFullBox, u32 } from '#protocol/cmaf/boxes.ts';
import { assertInitBoxes, assertPartBoxes } from '#origin/live/part-boxes.ts';
import { makeInit, makePart, videoRendition } from '#origin/live/testing/synthetic-media.ts';

const PART = makePart({ startTicks: 0, durationTicks: 1_000, independent: true, label: 'x' });
const CLAIMS = { startTicks: 0, durationTicks: 1_000, independent: true };
const INIT = makeInit(videoRendition('720p', 1), 1);
const join = (...pieces: readonly Uint8Array[]): Uint8Array => Buffer.concat(pieces);
const MDAT = makeBox('mdat', ascii('x'));
const moof = (...children: readonly Uint8Array[]): Uint8Array => join(makeBox('moof', ...children), MDAT);
const MFHD = makeFullBox('mfhd', 0, 0, u32(1));
const refused = expect.objectContaining({ status: 422, code: 'part_invalid' });

describe('bodies of parts', () => {
  it('takes one moof and one mdat', () => {
    expect(() => assertPartBoxes(PART, CLAIMS, INIT)).not.toThrow();
  });

  it.each([
    ['nothing', new Uint8Array()],
    ['text', ascii('<html>no</html>')],
    ['zeros', new Uint8Array(64)],
    ['a cut-off mdat', PART.subarray(0, -1)],
    ['a byte too many', join(PART, new Uint8Array(1))],
    ['two chunks', join(PART, PART)],
    ['an mdat alone', MDAT],
    ['an mdat in front', join(MDAT, PART)],
    ['an init segment', INIT],
    ['a box in front', join(makeBox('styp', ascii('msdh')), PART)],
    ['a box behind', join(PART, makeBox('free'))],
    ['a moof without mfhd', moof(makeBox('traf'))],
    ['a moof without traf', moof(MFHD)],
    ['a traf without tfdt', moof(MFHD, makeBox('traf', makeFullBox('tfhd', 0, 0, u32(1))))],
    ['a size of zero', join(u32(0), ascii('moof'), MDAT)],
    ['a 64-bit size', join(u32(1), ascii('moof'), u32(0, 24), MDAT)],
  ])('refuses %s', (_, bytes) => {
    expect(() => assertPartBoxes(bytes, CLAIMS, INIT)).toThrow(refused);
  });

  it.each([
    ['begins elsewhere', { startTicks: 1 }],
    ['is longer', { durationTicks: 999 }],
    ['is shorter', { durationTicks: 1_001 }],
  ])('refuses a part that %s than its headers say', (_, claims) => {
    expect(() => assertPartBoxes(PART, { ...CLAIMS, ...claims }, INIT)).toThrow(refused);
  });

  it('refuses a part that needs others and says that it does not', () => {
    const dependent = makePart({ startTicks: 0, durationTicks: 1_000, independent: false, label: 'x' });
    expect(() => assertPartBoxes(dependent, CLAIMS, INIT)).toThrow(refused);
    expect(() => assertPartBoxes(dependent, { ...CLAIMS, independent: false }, INIT)).not.toThrow();
    // A key frame may come unannounced.
    expect(() => assertPartBoxes(PART, { ...CLAIMS, independent: false }, INIT)).not.toThrow();
  });

  it('takes what the init segment says for what the samples leave unsaid', () => {
    const tfhd = makeFullBox('tfhd', 0, 0x02_0000, u32(1));
    const tfdt = makeFullBox('tfdt', 0, 0, u32(0));
    const trun = makeFullBox('trun', 0, 0, u32(1));
    const init = join(
      makeBox('ftyp'),
      makeBox('moov', makeBox('mvex', makeFullBox('trex', 0, 0, u32(1, 1, 1_000, 1, 0)))),
    );
    const bare = moof(MFHD, makeBox('traf', tfhd, tfdt, trun));
    expect(() => assertPartBoxes(bare, CLAIMS, init)).not.toThrow();
    expect(() => assertPartBoxes(bare, CLAIMS, INIT)).toThrow(refused);
  });

  it('refuses every cut of a part', () => {
    for (let length = 0; length < PART.length; length++)
      expect(() => assertPartBoxes(PART.subarray(0, length), CLAIMS, INIT)).toThrow(refused);
  });
});

describe('bodies of init segments', () => {
  it('takes one ftyp and one moov', () => {
    expect(() => assertInitBoxes(INIT)).not.toThrow();
  });

  it.each([
    ['nothing', new Uint8Array()],
    ['a part', PART],
    ['a cut-off moov', INIT.subarray(0, -1)],
    ['a moov without mvex', join(makeBox('ftyp'), makeBox('moov', makeBox('mvhd'), makeBox('trak')))],
    [
      'a moov whose mvex is empty',
      join(makeBox('ftyp'), makeBox('moov', makeBox('mvhd'), makeBox('trak'), makeBox('mvex'))),
    ],
    ['media behind it', join(INIT, PART)],
  ])('refuses %s', (_, bytes) => {
    expect(() => assertInitBoxes(bytes)).toThrow(refused);
  });
});
