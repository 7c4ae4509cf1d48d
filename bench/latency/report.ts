import type { ChainRun } from '#bench/latency/chain-run.ts';
import { AVAILABILITY_P95_MS, FIRST_PICTURE_MS, STALLS, glassTargets } from '#bench/latency/targets.ts';
import { summarise, type Summary } from '#bench/statistics/percentiles.ts';

/** One figure beside what it should be at most. */
export type Figure = {
  readonly name: string;
  readonly partDurationMs: number;
  readonly value: number;
  readonly unit: 'ms' | '';
  readonly target: number | undefined;
  readonly met: boolean | undefined;
};

/** The summary of a chain: figures against targets, and where the time goes. */
export type ChainSummary = {
  readonly figures: readonly Figure[];
  readonly distributions: Readonly<Record<string, Summary | undefined>>;
};

/** Boils the raw values of a chain down. */
export function summariseChain(chain: ChainRun): ChainSummary {
  const { partDurationMs } = chain;
  const figures: Figure[] = [];
  const figure = (
    name: string,
    value: number | undefined,
    target: number | undefined,
    unit: 'ms' | '' = 'ms',
  ): void => {
    const known = value ?? Number.NaN;
    figures.push({
      name,
      partDurationMs,
      value: known,
      unit,
      target,
      met: target === undefined ? undefined : known <= target,
    });
  };
  const distributions: Record<string, Summary | undefined> = {};
  const distribution = (name: string, values: readonly number[]): Summary | undefined => {
    distributions[name] = summarise(values);
    return distributions[name];
  };
  const publisher = distribution('publisher: drawn → sent', chain.publisherDelayMs);
  const availability = chain.parts.map(({ ingestAtMs, listedAtMs }) => listedAtMs - ingestAtMs);
  const available = distribution('last frame at ingest → part fetchable', availability);
  for (const rendition of new Set(chain.parts.map((part) => part.rendition)))
    distribution(
      `last frame at ingest → part fetchable, ${rendition}`,
      chain.parts
        .filter((part) => part.rendition === rendition)
        .map((part) => part.listedAtMs - part.ingestAtMs),
    );
  distribution(
    'PROGRAM-DATE-TIME minus arrival at ingest',
    chain.parts.map(({ programDateTimeMs, ingestAtMs }) => programDateTimeMs - ingestAtMs),
  );
  for (const { mode, run, firstPictureMs } of chain.players) {
    const targets = glassTargets(mode, partDurationMs);
    const glass = distribution(`${mode}: glass → screen`, run.glassMs);
    const start = distribution(`${mode}: first picture`, firstPictureMs);
    distribution(
      `${mode}: buffered ahead`,
      run.bufferedAheadS.map((seconds) => seconds * 1_000),
    );
    distribution(
      `${mode}: latency by the player itself`,
      run.views.flatMap(({ latencyS }) => (latencyS === null ? [] : [latencyS * 1_000])),
    );
    figure(`${mode}: glass → screen, p50`, glass?.p50, targets?.glassP50);
    figure(`${mode}: glass → screen, p95`, glass?.p95, targets?.glassP95);
    figure(`${mode}: glass → screen, max`, glass?.max, undefined);
    figure(
      `${mode}: glass → screen without the publisher's delay, p50`,
      (glass?.p50 ?? Number.NaN) - (publisher?.p50 ?? 0),
      undefined,
    );
    figure(`${mode}: first picture, slowest of ${firstPictureMs.length}`, start?.max, FIRST_PICTURE_MS);
    figure(`${mode}: stalls`, run.stalls.length, STALLS, '');
    figure(
      `${mode}: frames dropped of ${run.framesPresented + run.framesDropped}`,
      run.framesDropped,
      undefined,
      '',
    );
  }
  figure('last frame at ingest → part fetchable, p50', available?.p50, undefined);
  figure('last frame at ingest → part fetchable, p95', available?.p95, AVAILABILITY_P95_MS);
  figure('renditions with a break', chain.problems.length, 0, '');
  figure('publisher: drawn → sent, p50', publisher?.p50, undefined);
  return { figures, distributions };
}

/** The figures of several part lengths side by side, as text. */
export function renderTable(summaries: readonly ChainSummary[]): string {
  const lengths = summaries.map(({ figures }) => figures[0]?.partDurationMs ?? 0);
  const names = [...new Set(summaries.flatMap(({ figures }) => figures.map(({ name }) => comparable(name))))];
  const rows = names.map((name) => [
    name,
    ...summaries.map(({ figures }) => {
      const found = figures.find((candidate) => comparable(candidate.name) === name);
      return found === undefined ? '–' : renderFigure(found);
    }),
  ]);
  return renderRows([['figure', ...lengths.map((ms) => `${ms} ms parts`)], ...rows]);
}

/** CPU per stage, players and part lengths side by side, percent of one core. */
export function renderCpu(chains: readonly ChainRun[]): string {
  const columns = chains.flatMap((chain) => chain.players.map((player) => ({ chain, player })));
  const stages = [...new Set(columns.flatMap(({ player }) => player.cpu.map(({ stage }) => stage)))];
  const cell = (stage: string, cpu: readonly { stage: string; cpuPercent: number }[]): string =>
    (cpu.find((entry) => entry.stage === stage)?.cpuPercent ?? 0).toFixed(1);
  return renderRows([
    [
      'CPU, % of one core',
      ...columns.map(({ chain, player }) => `${chain.partDurationMs} ms, ${player.mode}`),
    ],
    ...stages.map((stage) => [stage, ...columns.map(({ player }) => cell(stage, player.cpu))]),
    ['others on this machine', ...columns.map(({ player }) => player.foreignCpuPercent.toFixed(1))],
  ]);
}

/** Distributions of one chain, in milliseconds. */
export function renderDistributions(summary: ChainSummary): string {
  const round = (value: number): string => value.toFixed(0);
  return renderRows([
    ['ms', 'n', 'min', 'p50', 'p95', 'p99', 'max'],
    ...Object.entries(summary.distributions).flatMap(([name, known]) =>
      known === undefined
        ? []
        : [
            [
              name,
              String(known.count),
              ...[known.min, known.p50, known.p95, known.p99, known.max].map(round),
            ],
          ],
    ),
  ]);
}

/** Names without the counts in them, so that rows of different runs meet. */
function comparable(name: string): string {
  return name.replace(/ of \d+$/, '');
}

function renderFigure({ value, unit, target, met }: Figure): string {
  const shown = `${value.toFixed(0)}${unit === '' ? '' : ` ${unit}`}`;
  if (target === undefined) return shown;
  return met === true
    ? `${shown} (≤ ${target})`
    : `${shown} (MISSED ≤ ${target} by ${(value - target).toFixed(0)})`;
}

function renderRows(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
