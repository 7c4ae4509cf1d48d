import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Timeline, TimestampUnwrapper, type Track } from './timeline.ts';

const limits = { timestampJumpMs: 1_000, timestampBackwardMs: 250 };
const WRAP = 2 ** 32;

describe('RTMP §5.3.1.1 timestamps that wrap', () => {
  it.each([
    ['plain steps', [0, 33, 66], [0, 33, 66]],
    ['a wrap', [WRAP - 40, WRAP - 7, 26, 59], [WRAP - 40, WRAP - 7, WRAP + 26, WRAP + 59]],
    ['a step back over the wrap', [WRAP - 5, 10, WRAP - 8], [WRAP - 5, WRAP + 10, WRAP - 8]],
    ['a start near the end', [WRAP - 1, 0], [WRAP - 1, WRAP]],
    ['a jump back to 0', [600_000, 0], [600_000, 0]],
    [
      'a second wrap',
      [0, 2 ** 31 - 1, WRAP - 2, 5, 2 ** 31, WRAP - 1, 3],
      [0, 2 ** 31 - 1, WRAP - 2, WRAP + 5, WRAP + 2 ** 31, 2 * WRAP - 1, 2 * WRAP + 3],
    ],
  ])('unwraps %s', (_name, raw, expected) => {
    const unwrapper = new TimestampUnwrapper();
    expect(raw.map((timestamp) => unwrapper.unwrap(timestamp))).toEqual(expected);
  });
});

type Step = [track: Track, timestampMs: number, expected: number | 'jump' | 'early'];

describe('a timeline that began with video at 10,000', () => {
  const cases: [name: string, steps: Step[]][] = [
    [
      'places frames from 0 on',
      [
        ['video', 10_033, 33],
        ['audio', 10_010, 10],
        ['audio', 10_031, 31],
      ],
    ],
    [
      'leaves out sound from before its start',
      [
        ['audio', 9_990, 'early'],
        ['audio', 10_011, 11],
      ],
    ],
    ['takes a step forward up to the limit', [['video', 11_000, 1_000]]],
    ['ends at a step forward over the limit', [['video', 11_001, 'jump']]],
    [
      'evens out a small step back',
      [
        ['video', 10_200, 200],
        ['video', 9_950, 200],
        ['video', 10_201, 201],
      ],
    ],
    [
      'ends at a larger step back',
      [
        ['video', 10_300, 300],
        ['video', 10_049, 'jump'],
      ],
    ],
    [
      'ends at a jump of +20 s',
      [
        ['video', 10_033, 33],
        ['audio', 30_020, 'jump'],
      ],
    ],
    [
      'ends at a return to 0',
      [
        ['video', 10_033, 33],
        ['video', 0, 'jump'],
      ],
    ],
    ['ends when the sound comes from elsewhere', [['audio', 12_000, 'jump']]],
    ['ends when the sound is seconds behind', [['audio', 8_000, 'jump']]],
    [
      'lets video pause while there is sound',
      [
        ['audio', 10_900, 900],
        ['audio', 11_800, 1_800],
        ['audio', 12_700, 2_700],
        ['video', 12_720, 2_720],
      ],
    ],
    [
      'lets sound pause while there is video',
      [
        ['audio', 10_000, 0],
        ['video', 10_990, 990],
        ['video', 11_980, 1_980],
        ['audio', 12_000, 2_000],
      ],
    ],
    [
      'lets sound begin later',
      [
        ['video', 11_000, 1_000],
        ['video', 12_000, 2_000],
        ['audio', 12_010, 2_010],
      ],
    ],
    [
      'lets sound run behind video',
      [
        ['video', 11_000, 1_000],
        ['audio', 10_100, 100],
        ['video', 11_900, 1_900],
      ],
    ],
  ];
  it.each(cases)('%s', (_name, steps) => {
    const timeline = new Timeline(limits, 'video', 10_000);
    const results = steps.map(([track, timestampMs]) => {
      const placement = timeline.place(track, timestampMs);
      return placement.kind === 'placed' ? placement.dtsMs : placement.kind;
    });
    expect(results).toEqual(steps.map(([, , expected]) => expected));
  });

  it('says which timestamps it has evened out', () => {
    const timeline = new Timeline(limits, 'video', 0);
    expect(timeline.place('video', 40)).toEqual({ kind: 'placed', dtsMs: 40, clamped: false });
    expect(timeline.place('video', 39)).toEqual({ kind: 'placed', dtsMs: 40, clamped: true });
    expect(timeline.place('video', 40)).toEqual({ kind: 'placed', dtsMs: 40, clamped: false });
  });
});

describe('any timestamps at all', () => {
  it('never step back nor jump once they are placed', () => {
    const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() & 0x7fffffff);
    const step = fc.tuple(
      fc.constantFrom<Track>('video', 'audio'),
      fc.oneof(
        { weight: 8, arbitrary: fc.integer({ min: -300, max: 300 }) },
        fc.integer({ min: -60_000, max: 60_000 }),
      ),
    );
    fc.assert(
      fc.property(
        fc.nat(WRAP - 1),
        fc.array(step, { minLength: 1, maxLength: 200, size: 'max' }),
        (start, steps) => {
          const unwrapper = new TimestampUnwrapper();
          let raw = start;
          let timeline = new Timeline(limits, 'video', unwrapper.unwrap(start));
          let last: Partial<Record<Track, number>> = { video: 0 };
          for (const [track, delta] of steps) {
            raw = (((raw + delta) % WRAP) + WRAP) % WRAP;
            const atMs = unwrapper.unwrap(raw);
            const placement = timeline.place(track, atMs);
            if (placement.kind === 'jump') {
              timeline = new Timeline(limits, track, atMs);
              last = { [track]: 0 };
            }
            if (placement.kind !== 'placed') continue;
            const newest = Math.max(last.video ?? 0, last.audio ?? 0);
            expect(placement.dtsMs).toBeGreaterThanOrEqual(last[track] ?? 0);
            expect(placement.dtsMs - newest).toBeLessThanOrEqual(limits.timestampJumpMs);
            last[track] = placement.dtsMs;
          }
        },
      ),
      { seed, numRuns: 500 },
    );
  });
});
