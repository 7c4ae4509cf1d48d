import { parseArgs } from 'node:util';

/** Who keeps the distance to the live edge in a run. */
export const PLAYER_MODES = ['bare', 'own'] as const;
export type PlayerMode = (typeof PLAYER_MODES)[number];

/** What is to be measured. */
export type LatencyOptions = {
  /** Playback per player and part length that counts. */
  readonly seconds: number;
  /** Playback before that, which does not: players are still on their way to the edge. */
  readonly settleSeconds: number;
  readonly partDurationsMs: readonly number[];
  readonly modes: readonly PlayerMode[];
  /** Fresh page loads per player and part length. */
  readonly loads: number;
  readonly publisherPreset: string;
  /** Folder of the JSON file; relative to the working directory. */
  readonly out: string;
};

const USAGE = `npm run bench -- latency [options]
  --seconds 300      playback that counts, per player and part length
  --settle 15        playback before that, which does not
  --part 333,200     part lengths in ms
  --mode bare,own    players: hls.js alone, our own page
  --loads 6          fresh page loads per player and part length
  --preset ultrafast x264 preset of the publisher
  --out bench/results`;

/** The command line could not be understood; the message shows how it is meant. */
export class UsageError extends Error {
  readonly code = 'usage';
  override readonly name = 'UsageError';
}

/** @throws {UsageError} */
export function readLatencyOptions(args: readonly string[]): LatencyOptions {
  const { values } = parse(args);
  return {
    seconds: positive('seconds', values.seconds),
    settleSeconds: positive('settle', values.settle),
    partDurationsMs: values.part.split(',').map((value) => positive('part', value)),
    modes: values.mode.split(',').map((value) => {
      const mode = PLAYER_MODES.find((known) => known === value);
      if (mode === undefined)
        throw new UsageError(`--mode: ${value} is not one of ${PLAYER_MODES.join(', ')}\n${USAGE}`);
      return mode;
    }),
    loads: positive('loads', values.loads, 0),
    publisherPreset: values.preset,
    out: values.out,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        seconds: { type: 'string', default: '300' },
        settle: { type: 'string', default: '15' },
        part: { type: 'string', default: '333,200' },
        mode: { type: 'string', default: 'bare,own' },
        loads: { type: 'string', default: '6' },
        preset: { type: 'string', default: 'ultrafast' },
        out: { type: 'string', default: 'bench/results' },
      },
    });
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n${USAGE}`, { cause: error });
  }
}

function positive(name: string, value: string, min = 1): number {
  if (!/^\d{1,6}$/.test(value) || Number(value) < min)
    throw new UsageError(`--${name}: expected a whole number from ${min}, got ${value}\n${USAGE}`);
  return Number(value);
}
