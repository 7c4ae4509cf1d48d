import type { AbortRun, AnswerRun, ReleaseRun } from '#bench/origin/measurements.ts';
import { summarise } from '#bench/statistics/percentiles.ts';

/** What the origin promises. */
export const TARGETS = {
  releaseTimesBare: 1.3,
  othersMs: 50,
  cpuUsPerReleased: 45,
  kilobytesPerHeld: 20,
  answerTimesNginx: 1.5,
  /** How much more memory may be in use after all that was aborted: the allocator's wobble. */
  abortGrowthMib: 16,
} as const;

export type Figure = {
  readonly name: string;
  readonly value: number;
  /** The most that it may be; without one it is only told. */
  readonly target?: number;
  readonly met?: boolean;
};

export type OriginResult = {
  readonly memory: readonly ReleaseRun[];
  readonly releases: readonly ReleaseRun[];
  readonly answers: readonly AnswerRun[];
  readonly aborts: AbortRun;
};

const OURS = 'origin';
const MIB = 1024 * 1024;

/** The figures of a run: medians over its rounds, of others' waits the worst. */
export function originFigures({ memory, releases, answers, aborts }: OriginResult): Figure[] {
  return [
    ...[...new Set(releases.map(({ held }) => held))].flatMap((held) => releaseFigures(releases, held)),
    ...memory.map(({ server, bytesPerHeld }) =>
      figure(
        `memory per held request, ${server}, KB`,
        (bytesPerHeld ?? Number.NaN) / 1_024,
        server === OURS ? TARGETS.kilobytesPerHeld : undefined,
      ),
    ),
    figure(`held after ${aborts.aborted} aborted`, aborts.heldAfter, 0),
    figure(
      `memory more after ${aborts.aborted} aborted, MiB`,
      (aborts.bytesAfter - aborts.bytesBefore) / MIB,
      TARGETS.abortGrowthMib,
    ),
    ...(['playlist', 'part'] as const).flatMap((what) => answerFigures(answers, what)),
  ];
}

function releaseFigures(releases: readonly ReleaseRun[], held: number): Figure[] {
  const of = (server: string): ReleaseRun[] =>
    releases.filter((run) => run.held === held && run.server === server);
  const ours = of(OURS);
  const bare = of('bare node:http');
  const lastByteMs = (runs: readonly ReleaseRun[]): number => median(runs.map((run) => run.lastByteMs));
  return [
    figure(`${held} held: last byte, bare node:http, ms`, lastByteMs(bare)),
    figure(`${held} held: last byte, origin, ms`, lastByteMs(ours)),
    figure(
      `${held} held: last byte, origin / bare`,
      lastByteMs(ours) / lastByteMs(bare),
      TARGETS.releaseTimesBare,
    ),
    figure(
      `${held} held: other requests meanwhile at most, ms`,
      Math.max(...ours.map((run) => run.othersMaxMs)),
      TARGETS.othersMs,
    ),
    figure(
      `${held} held: CPU per released request, µs`,
      median(ours.map((run) => run.cpuUsPerRequest)),
      TARGETS.cpuUsPerReleased,
    ),
    figure(
      `${held} held: CPU per released request, bare, µs`,
      median(bare.map((run) => run.cpuUsPerRequest)),
    ),
  ];
}

function answerFigures(answers: readonly AnswerRun[], what: AnswerRun['what']): Figure[] {
  const runs = answers.filter((run) => run.what === what);
  const names = [...new Set(runs.map(({ server }) => server))].toSorted();
  const cpuUs = (name: string): number =>
    median(runs.filter(({ server }) => server === name).map((run) => run.cpuUsPerAnswer));
  const times = names.includes('nginx')
    ? [figure(`CPU per ${what}, origin / nginx`, cpuUs(OURS) / cpuUs('nginx'), TARGETS.answerTimesNginx)]
    : [];
  return [...names.map((name) => figure(`CPU per ${what}, ${name}, µs`, cpuUs(name))), ...times];
}

function figure(name: string, value: number, target?: number): Figure {
  return target === undefined ? { name, value } : { name, value, target, met: value <= target };
}

function median(values: readonly number[]): number {
  return summarise(values)?.p50 ?? Number.NaN;
}

/** One line per figure, and one for everything that was not measured. */
export function printFigures(
  figures: readonly Figure[],
  skipped: readonly string[],
  say: (line: string) => void,
): void {
  say('');
  for (const { name, value, target, met } of figures) {
    const verdict = target === undefined ? '' : `   ${met === true ? 'met' : 'MISSED'} (${target})`;
    say(`${name.padEnd(60)}${value.toFixed(2).padStart(12)}${verdict}`);
  }
  for (const what of skipped) say(`skipped: ${what}`);
}
