import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { serveBarePage } from '#bench/browser/bare-page.ts';
import { launchChromium } from '#bench/browser/chromium.ts';
import { measureChain, type ChainRun } from '#bench/latency/chain-run.ts';
import { UsageError, readLatencyOptions, type LatencyOptions } from '#bench/latency/options.ts';
import { rawValues } from '#bench/latency/raw-values.ts';
import { renderCpu, renderDistributions, renderTable, summariseChain } from '#bench/latency/report.ts';
import { describeMachine } from '#bench/machine/machine.ts';
import { StreamApi } from '#bench/system/stream-api.ts';
import { startSystem } from '#bench/system/system-process.ts';
import { DisposableStack } from '#runtime/lifecycle.ts';
import { createLogger } from '#runtime/log.ts';

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** `npm run bench -- latency`: measures everything in one go, prints it and writes it to a JSON file. */
export async function run(args: string[]): Promise<void> {
  let options: LatencyOptions;
  try {
    options = readLatencyOptions(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 2;
    return;
  }
  const startedAt = new Date();
  const chains = await measureAll(options);
  const summaries = chains.map(summariseChain);
  for (const { partDurationMs, problems } of chains)
    for (const problem of problems)
      say(`${partDurationMs} ms parts, ${problem}: nothing is timed from there on`);
  say(`\n${renderTable(summaries)}\n\n${renderCpu(chains)}`);
  for (const [index, summary] of summaries.entries())
    say(`\n${chains[index]?.partDurationMs} ms parts\n${renderDistributions(summary)}`);
  await mkdir(options.out, { recursive: true });
  const file = join(options.out, `latency-${startedAt.toISOString().slice(0, 16).replace(':', '')}.json`);
  const result = {
    startedAt: startedAt.toISOString(),
    options,
    machine: describeMachine(),
    summaries,
    raw: chains.map(rawValues),
  };
  await writeFile(file, `${JSON.stringify(result, roundNumbers)}\n`);
  say(`\nwritten to ${file}`);
}

async function measureAll(options: LatencyOptions): Promise<ChainRun[]> {
  const stack = new DisposableStack();
  try {
    const system = stack.add('system', await startSystem(), (started) => started.stop());
    say(`system at ${system.originUrl} and ${system.rtmpUrl}`);
    const browser = stack.add('browser', await launchChromium(), (launched) => launched.close());
    const barePage = stack.add('page', await serveBarePage(), (served) => served.close());
    const api = new StreamApi(system.originUrl, system.adminToken);
    const chains: ChainRun[] = [];
    for (const partDurationMs of options.partDurationsMs) {
      try {
        chains.push(
          await measureChain(partDurationMs, options, { system, api, browser, barePage, log: say }),
        );
      } catch (error) {
        // What took twenty minutes to measure is written all the same; the exit code says that something is missing.
        process.stderr.write(`${partDurationMs} ms parts: ${(error as Error).stack}\n`);
        process.exitCode = 1;
      }
    }
    return chains;
  } finally {
    await stack.close(createLogger('bench', 'warn'));
  }
}

/** More digits than the clocks are good for would only fill the file. */
function roundNumbers(_: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Math.round(value * 1_000) / 1_000 : value;
}
