import { describe, expect, it } from 'vitest';
import { CommandLineError, readCommandLine } from '#all-in-one/command-line.ts';

describe('readCommandLine', () => {
  it.each([
    [[], { help: false, demo: false }],
    [['--demo'], { help: false, demo: true }],
    [['--help'], { help: true, demo: false }],
    [['-h', '--demo'], { help: true, demo: true }],
  ])('reads %j', (args, expected) => {
    expect(readCommandLine(args)).toEqual(expected);
  });

  it.each(['demo', '--dmeo', '--demo=1', ''])('refuses "%s"', (argument) => {
    expect(() => readCommandLine([argument])).toThrow(CommandLineError);
  });
});
