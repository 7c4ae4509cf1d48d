import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { boxesIn, makeBox, makeFullBox, u32, viewOf, type Box } from '#protocol/cmaf/boxes.ts';
import { CmafError } from '#protocol/cmaf/cmaf-error.ts';
import {
  fragmentSequence,
  parseFragment,
  parsePart,
  type CmafSample,
  type SampleDefaults,
} from '#protocol/cmaf/fragment.ts';
import { hasEditList, parseInitSegment } from '#protocol/cmaf/init-segment.ts';
import { writePart } from '#protocol/cmaf/part-writer.ts';

const fixture = (name: string): Uint8Array =>
  Uint8Array.from(readFileSync(new URL(`fixtures/${name}`, import.meta.url)));
const outcomeOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    return error instanceof CmafError ? 'CmafError' : String(error);
  }
  return 'no error';
};
const NO_DEFAULTS: SampleDefaults = { durationTicks: 0, sizeBytes: 0, flags: 0 };

function samplesOf(bytes: Uint8Array): CmafSample[] {
  const boxes = [...boxesIn(bytes)];
  const defaults = parseInitSegment(bytes).defaults;
  return boxes.flatMap((box, index) =>
    box.type === 'moof' ? parseFragment(box, boxes[index + 1] as Box, defaults) : [],
  );
}

describe('the init segment of an encoder', () => {
  it('describes video', () => {
    const init = fixture('encoder-video.mp4');
    expect(parseInitSegment(init)).toEqual({
      kind: 'video',
      trackId: 1,
      timescale: 30_000,
      codecs: 'avc1.64000A',
      width: 96,
      height: 64,
      defaults: NO_DEFAULTS,
    });
    expect(hasEditList(init)).toBe(false);
  });

  it('describes audio, with the channels of the AudioSpecificConfig', () => {
    expect(parseInitSegment(fixture('encoder-audio.mp4'))).toEqual({
      kind: 'audio',
      trackId: 1,
      timescale: 48_000,
      codecs: 'mp4a.40.2',
      channels: 1,
      sampleRateHz: 48_000,
      defaults: NO_DEFAULTS,
    });
  });

  it('is refused when a box of it is damaged, with a CmafError and nothing else', () => {
    const init = fixture('encoder-audio.mp4').subarray(0, 692);
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: init.length - 1 }),
        fc.integer({ min: 0, max: 255 }),
        (at, byte) => {
          const bytes = Uint8Array.from(init);
          bytes[at] = byte;
          expect(['CmafError', 'no error']).toContain(outcomeOf(() => parseInitSegment(bytes)));
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('§8.8 movie fragments', () => {
  it('gives the frames of an encoder with their exact times', () => {
    const samples = samplesOf(fixture('encoder-video.mp4'));
    expect(samples.length).toBe(66);
    samples.forEach((sample, index) => {
      expect(sample.startTicks).toBe(300_000 + index * 1001);
      expect(sample.durationTicks).toBe(1001);
      expect(sample.sync).toBe(index % 60 === 0);
      expect(sample.data.length).toBeGreaterThan(0);
    });
  });

  it('gives audio frames, the priming frame before media time 0 included', () => {
    const samples = samplesOf(fixture('encoder-audio.mp4'));
    expect(samples[0]?.startTicks).toBe(480_000 - 1024);
    expect(samples.every((sample) => sample.sync)).toBe(true);
    // At the end of its input the encoder says how many samples of the last frame are not padding.
    expect(samples.slice(0, -1).every((sample) => sample.durationTicks === 1024)).toBe(true);
    expect(samples.at(-1)?.durationTicks).toBeLessThan(1024);
  });

  const fragment = (traf: readonly Uint8Array[], mediaBytes = 4): [Box, Box] => {
    const bytes = new Uint8Array([
      ...makeBox('moof', makeFullBox('mfhd', 0, 0, u32(7)), makeBox('traf', ...traf)),
      ...makeBox('mdat', new Uint8Array(mediaBytes)),
    ]);
    return [...boxesIn(bytes)] as [Box, Box];
  };
  const tfhd = makeFullBox('tfhd', 0, 0x02_0000, u32(1));
  const tfdt = makeFullBox('tfdt', 0, 0, u32(90));
  const trun = makeFullBox('trun', 0, 0x300, u32(1, 10, 4));

  it('takes the data right after the moof when no offset is said', () => {
    const [moof, mdat] = fragment([tfhd, tfdt, trun]);
    expect(parseFragment(moof, mdat, NO_DEFAULTS)).toMatchObject([{ startTicks: 90, durationTicks: 10 }]);
    expect(fragmentSequence(moof)).toBe(7);
  });

  it.each<[string, Uint8Array[]]>([
    ['no tfhd', [tfdt, trun]],
    ['no tfdt', [tfhd, trun]],
    ['no samples', [tfhd, tfdt]],
    ['data counted from the file', [makeFullBox('tfhd', 0, 1, u32(1, 0, 0)), tfdt, trun]],
    ['a run longer than it says', [tfhd, tfdt, makeFullBox('trun', 0, 0x300, u32(1, 10, 4, 0))]],
    ['a sample outside of mdat', [tfhd, tfdt, makeFullBox('trun', 0, 0x300, u32(1, 10, 5))]],
    ['a data offset into the moof', [tfhd, tfdt, makeFullBox('trun', 0, 0x301, u32(1, 8, 10, 4))]],
    ['a time before zero', [tfhd, makeFullBox('tfdt', 1, 0, u32(0xffff_ffff, 0xffff_fc00)), trun]],
    ['a giant run', [tfhd, tfdt, makeFullBox('trun', 0, 0, u32(0xffff_ffff))]],
  ])('refuses a fragment with %s', (_what, traf) => {
    const [moof, mdat] = fragment(traf);
    expect(() => parseFragment(moof, mdat, NO_DEFAULTS)).toThrow(CmafError);
  });

  it('refuses two tracks', () => {
    const traf = makeBox('traf', tfhd, tfdt, trun);
    const bytes = new Uint8Array([...makeBox('moof', traf, traf), ...makeBox('mdat', new Uint8Array(8))]);
    expect(() => parsePart(bytes, NO_DEFAULTS)).toThrow(/more than one track/);
  });
});

describe('writePart', () => {
  const anySamples = fc
    .record({
      startTicks: fc.integer({ min: 0, max: 2 ** 45 }),
      frames: fc.array(
        fc.record({
          durationTicks: fc.integer({ min: 1, max: 100_000 }),
          compositionOffsetTicks: fc.integer({ min: -5000, max: 5000 }),
          sync: fc.boolean(),
          data: fc.uint8Array({ maxLength: 40 }),
        }),
        { minLength: 1, maxLength: 40 },
      ),
    })
    .map(({ startTicks, frames }) => {
      let at = startTicks;
      return frames.map((frame) => {
        at += frame.durationTicks;
        return { ...frame, startTicks: at - frame.durationTicks };
      });
    });

  it('is read back as it was written', () => {
    fc.assert(
      fc.property(anySamples, fc.integer({ min: 1, max: 2 ** 32 - 1 }), (samples, sequence) => {
        const part = writePart(1, sequence, samples);
        expect(parsePart(part, NO_DEFAULTS)).toEqual(samples);
        const [moof] = [...boxesIn(part)];
        expect(fragmentSequence(moof as Box)).toBe(sequence);
      }),
    );
  });

  it('merges one-frame fragments of an encoder into one fragment with 64-bit times', () => {
    const samples = samplesOf(fixture('encoder-video.mp4')).slice(0, 10);
    const part = writePart(1, 1, samples);
    const [moof, mdat] = [...boxesIn(part)] as [Box, Box];
    expect(mdat.payload.length).toBe(samples.reduce((sum, sample) => sum + sample.data.length, 0));
    expect(parsePart(part, NO_DEFAULTS)).toEqual(samples);
    const tfdt = [...boxesIn(([...boxesIn(moof.payload)][1] as Box).payload)][1] as Box;
    expect([tfdt.type, viewOf(tfdt.payload).getUint8(0)]).toEqual(['tfdt', 1]);
  });

  it('refuses a hole between samples and nothing at all', () => {
    const sample = { durationTicks: 10, compositionOffsetTicks: 0, sync: true, data: Uint8Array.of(1) };
    expect(() =>
      writePart(1, 1, [
        { ...sample, startTicks: 0 },
        { ...sample, startTicks: 11 },
      ]),
    ).toThrow(RangeError);
    expect(() => writePart(1, 1, [])).toThrow(RangeError);
  });
});
