import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { PacketLog, type PacketLogReader } from './packet-log.ts';

const limits = { backlogBytesMax: 1_000, backlogDurationMaxMs: 10_000 };
const frame = (name: string, bytes = 10): Buffer => Buffer.from(name.padEnd(bytes, '.'));
const names = (frames: readonly Buffer[]): string[] =>
  frames.map((entry) => entry.toString().replaceAll('.', ''));

/** Reads all there is. */
function drain(reader: PacketLogReader): string[] {
  const all: string[] = [];
  for (let read = reader.read(); ; read = reader.read()) {
    if (typeof read === 'string') return [...all, read];
    all.push(...names(read.frames));
  }
}

describe('a log of packets', () => {
  const create = (): { log: PacketLog; clock: FakeClock } => {
    const clock = new FakeClock();
    return { log: new PacketLog(limits, clock), clock };
  };

  it('lets a reader begin at the last place where one can, with its prelude', () => {
    const { log } = create();
    log.append(frame('header'));
    log.append(frame('key1'), [frame('h1')]);
    log.append(frame('a'));
    log.append(frame('key2'), [frame('h2')]);
    log.append(frame('b'));
    expect(drain(log.openReader(() => {}))).toEqual(['h2', 'key2', 'b', 'empty']);
  });

  it('lets a reader that came too early begin at the next such place', () => {
    const { log } = create();
    let wakes = 0;
    const reader = log.openReader(() => wakes++);
    log.append(frame('a'));
    expect(drain(reader)).toEqual(['empty']);
    log.append(frame('key1'), [frame('h1')]);
    log.append(frame('b'));
    expect(drain(reader)).toEqual(['h1', 'key1', 'b', 'empty']);
    expect(wakes).toBe(3);
  });

  it('gives every reader everything once, at its own speed', () => {
    const { log } = create();
    log.append(frame('key1'), []);
    const [fast, slow] = [log.openReader(() => {}), log.openReader(() => {})];
    expect(drain(fast)).toEqual(['key1', 'empty']);
    log.append(frame('a'));
    expect(drain(fast)).toEqual(['a', 'empty']);
    log.append(frame('key2'), []);
    expect(drain(slow)).toEqual(['key1', 'a', 'key2', 'empty']);
    expect(drain(fast)).toEqual(['key2', 'empty']);
  });

  it('keeps nothing from before the last place to begin when all have read it', () => {
    const { log } = create();
    const reader = log.openReader(() => {});
    for (let index = 0; index < 50; index++)
      log.append(frame(`f${index}`), index % 10 === 0 ? [] : undefined);
    drain(reader);
    log.append(frame('last'));
    expect(log.byteCount).toBe(11 * 10);
  });

  it('tells a reader that is too slow for the limit of bytes, and grows no further', () => {
    const { log } = create();
    log.append(frame('key1'), []);
    const reader = log.openReader(() => {});
    for (let index = 0; index < 99; index++) log.append(frame(`f${index}`));
    expect(log.byteCount).toBe(1_000);
    expect(reader.hasFallenBehind).toBe(false);
    log.append(frame('over'));
    expect(log.byteCount).toBe(1_000);
    expect(reader.hasFallenBehind).toBe(true);
    expect(reader.read()).toBe('fell_behind');
  });

  it('tells a reader that is too slow for the limit of time', () => {
    const { log, clock } = create();
    log.append(frame('key1'), []);
    const reader = log.openReader(() => {});
    clock.advance(10_000);
    log.append(frame('a'));
    expect(reader.hasFallenBehind).toBe(false);
    clock.advance(1);
    log.append(frame('b'));
    expect(reader.read()).toBe('fell_behind');
  });

  it('makes a new reader wait for the next place to begin when the last one had to go', () => {
    const { log } = create();
    log.append(frame('key1', 600), []);
    log.append(frame('big', 600));
    const reader = log.openReader(() => {});
    expect(reader.read()).toBe('empty');
    log.append(frame('key2'), []);
    expect(drain(reader)).toEqual(['key2', 'empty']);
  });

  it('says that it has ended only to those who have read everything', () => {
    const { log } = create();
    log.append(frame('key1'), []);
    const [reader, early] = [log.openReader(() => {}), create().log.openReader(() => {})];
    log.end();
    expect(drain(reader)).toEqual(['key1', 'ended']);
    expect(drain(log.openReader(() => {}))).toEqual(['key1', 'ended']);
    expect(early.read()).toBe('empty');
  });

  it('says that it has ended to a reader that never began', () => {
    const { log } = create();
    const reader = log.openReader(() => {});
    log.end();
    expect(reader.read()).toBe('ended');
  });

  it('hands out so much at a time', () => {
    const clock = new FakeClock();
    const log = new PacketLog({ ...limits, backlogBytesMax: 1_000_000 }, clock);
    log.append(frame('key1', 60_000), []);
    for (let index = 1; index < 10; index++) log.append(frame(`f${index}`, 60_000));
    const reader = log.openReader(() => {});
    const lots: number[] = [];
    for (let read = reader.read(); typeof read !== 'string'; read = reader.read())
      lots.push(read.frames.length);
    expect(lots).toEqual([3, 3, 3, 1]);
  });

  it('lets go of everything when it is discarded', () => {
    const { log } = create();
    log.append(frame('key1'), []);
    const [slow, done] = [log.openReader(() => {}), log.openReader(() => {})];
    drain(done);
    log.discard();
    expect(log.byteCount).toBe(0);
    expect(slow.read()).toBe('fell_behind');
    expect(done.read()).toBe('ended');
  });

  it('gives each reader an unbroken run, whatever the readers do', () => {
    const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() & 0x7fffffff);
    const action = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({
          do: fc.constant('append'),
          key: fc.boolean(),
          size: fc.integer({ min: 8, max: 120 }),
        }),
      },
      { weight: 3, arbitrary: fc.record({ do: fc.constant('read'), who: fc.nat(3) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('open'), who: fc.nat(3) }) },
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 900, size: 'max' }), (actions) => {
        const { log } = create();
        const readers = new Map<number, { reader: PacketLogReader; next: number | undefined }>();
        const faults: string[] = [];
        let appended = 0;
        for (const step of actions) {
          if ('size' in step) {
            log.append(frame(String(appended++), step.size), step.key ? [] : undefined);
            if (log.byteCount > limits.backlogBytesMax) faults.push(`${log.byteCount} bytes kept`);
          } else if (step.do === 'open') {
            const old = readers.get(step.who);
            if (old !== undefined) log.closeReader(old.reader);
            readers.set(step.who, { reader: log.openReader(() => {}), next: undefined });
          } else {
            const entry = readers.get(step.who);
            if (entry === undefined) continue;
            const read = entry.reader.read();
            if (typeof read === 'string') continue;
            for (const number of names(read.frames).map(Number)) {
              if (entry.next !== undefined && number !== entry.next)
                faults.push(`${number}, not ${entry.next}`);
              entry.next = number + 1;
            }
          }
        }
        expect(faults, `seed ${seed}`).toEqual([]);
      }),
      { seed, numRuns: 100 },
    );
  });
});
