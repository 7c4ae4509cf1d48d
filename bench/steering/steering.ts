import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { describeMachine, machineCpuTicks } from '#bench/machine/machine.ts';
import { summarise } from '#bench/statistics/percentiles.ts';
import { measureDecisions } from '#bench/steering/decision-cost.ts';
import type { LoadOrder, LoadResult } from '#bench/steering/load-process.ts';
import { runHerd } from '#bench/steering/session-herd.ts';
import { startSteering, type SteeringProcess } from '#bench/steering/steering-process.ts';

/** What the system promises. */
const TARGETS = { answersPerSecond: 10_000, halfRateP99Ms: 5, herdPeak: 1.2, bytesPerSession: 16 };
const PACED_PER_SECOND = TARGETS.answersPerSecond / 2;
const SERVER_CORE = 0;
const LOAD_CORE = 1;
const LOAD = fileURLToPath(new URL('load-process.ts', import.meta.url));
const CONNECTIONS = 50;
const HERD = { sessions: 100_000, joinSeconds: 5, meanTtlS: 25, seconds: 300 };
const LOAD_OUTPUT_BYTES_MAX = 256 * 1024 * 1024;

const USAGE = `npm run bench -- steering [options]
  --seconds 15         length of each run of answers
  --rounds 3           runs, each with a fresh server
  --sessions 1000000   sessions of the memory run
  --out bench/results`;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/**
 * `npm run bench -- steering`: answers per second of one core with tokens verified and signed, latency at half of that,
 * the cost of a decision, memory per session, and whether a crowd dissolves. Server and load each have a core.
 */
export async function run(args: string[]): Promise<void> {
  const options = readOptions(args);
  if (options === undefined) {
    process.stderr.write(`${USAGE}\n`);
    process.exitCode = 2;
    return;
  }
  const startedAt = new Date();
  const decisionsUs = measureDecisions([2, 8, 64]);
  const herd = runHerd(HERD.sessions, HERD.joinSeconds, HERD.meanTtlS, HERD.seconds);
  const rounds: RoundResult[] = [];
  for (let round = 0; round < options.rounds; round++) rounds.push(await measureRound(options.seconds));
  const memory = await withServer((server) => measureMemory(server, options.sessions));

  const best = (values: readonly number[]): number => Math.min(...values);
  const figures = [
    figure(
      'answers per second of one core',
      Math.max(...rounds.map((r) => r.answersPerSecond)),
      TARGETS.answersPerSecond,
      'min',
    ),
    figure('CPU per answer, µs', best(rounds.map((r) => r.cpuUsPerAnswer))),
    ...rounds.map((r, i) =>
      figure(
        `round ${i + 1}: p99 at ${PACED_PER_SECOND}/s (others used ${r.foreignCpuPercent.toFixed(0)} % of a core), ms`,
        r.latency?.p99 ?? Number.NaN,
        TARGETS.halfRateP99Ms,
        'max',
      ),
    ),
    ...Object.entries(decisionsUs).map(([cdns, values]) =>
      figure(`decision among ${cdns} CDNs, µs`, best(values)),
    ),
    figure(
      `heap per session over ${options.sessions} sessions, bytes`,
      memory.heapBytesPerSession,
      TARGETS.bytesPerSession,
      'max',
    ),
    figure('crowd of 100,000: peak after one TTL, in means', herd.peakAfterOneTtl, TARGETS.herdPeak, 'max'),
  ];
  for (const { name, value, target, met } of figures)
    say(
      `${name.padEnd(72)}${format(value).padStart(12)}${target === undefined ? '' : `   ${met ? 'met' : 'MISSED'} (${target})`}`,
    );

  await mkdir(options.out, { recursive: true });
  const file = join(options.out, `steering-${startedAt.toISOString().slice(0, 16).replace(':', '')}.json`);
  const result = {
    startedAt,
    options,
    machine: describeMachine(),
    figures,
    rounds,
    decisionsUs,
    memory,
    herd,
  };
  await writeFile(file, `${JSON.stringify(result)}\n`);
  say(`\nwritten to ${file}`);
}

type RoundResult = {
  readonly answersPerSecond: number;
  readonly cpuUsPerAnswer: number;
  readonly latency: ReturnType<typeof summarise>;
  /** What others used of the machine meanwhile, percent of one core; beyond a few the figures are worth little. */
  readonly foreignCpuPercent: number;
};

async function measureRound(seconds: number): Promise<RoundResult> {
  return withServer(async (server) => {
    const base = { port: server.port, connections: CONNECTIONS, requests: 0, perSecond: 0 };
    await load({ ...base, mode: 'sustained', seconds: 3 });
    const ticks = machineCpuTicks();
    const cpuMs = await server.cpuMs();
    const sustained = await load({ ...base, mode: 'sustained', seconds });
    const usedMs = (await server.cpuMs()) - cpuMs;
    const busyMs = (machineCpuTicks().busy - ticks.busy) * 10;
    const foreignMs = Math.max(0, busyMs - usedMs - sustained.cpuMs);
    const foreignCpuPercent = foreignMs / (sustained.seconds * 10);
    const answersPerSecond = sustained.answers / sustained.seconds;
    const paced = await load({ ...base, mode: 'paced', seconds, perSecond: PACED_PER_SECOND });
    return {
      answersPerSecond,
      cpuUsPerAnswer: (usedMs * 1_000) / sustained.answers,
      latency: summarise(paced.latenciesMs),
      foreignCpuPercent,
    };
  });
}

/** Memory after a tenth of the sessions, when everything is warm, against memory after all of them. */
async function measureMemory(server: SteeringProcess, sessions: number) {
  const fresh = (requests: number): Promise<LoadResult> =>
    load({ port: server.port, mode: 'fresh', connections: CONNECTIONS, seconds: 0, perSecond: 0, requests });
  await fresh(Math.ceil(sessions / 10));
  const before = await server.memory();
  await fresh(sessions);
  const after = await server.memory();
  return {
    sessions,
    before,
    after,
    heapBytesPerSession: Math.max(0, after.heapBytes - before.heapBytes) / sessions,
  };
}

async function withServer<Value>(work: (server: SteeringProcess) => Promise<Value>): Promise<Value> {
  const server = await startSteering(SERVER_CORE);
  try {
    return await work(server);
  } finally {
    await server.stop();
  }
}

async function load(order: LoadOrder): Promise<LoadResult> {
  const args = ['-c', String(LOAD_CORE), process.execPath, LOAD, JSON.stringify(order)];
  const { stdout } = await promisify(execFile)('taskset', args, { maxBuffer: LOAD_OUTPUT_BYTES_MAX });
  return JSON.parse(stdout) as LoadResult;
}

function figure(name: string, value: number, target?: number, side?: 'min' | 'max') {
  const met = target === undefined ? undefined : side === 'min' ? value >= target : value <= target;
  return { name, value, target, met };
}

function format(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(2);
}

function readOptions(args: string[]) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        seconds: { type: 'string', default: '15' },
        rounds: { type: 'string', default: '3' },
        sessions: { type: 'string', default: '1000000' },
        out: { type: 'string', default: 'bench/results' },
      },
    });
    const [seconds, rounds, sessions] = [values.seconds, values.rounds, values.sessions].map(Number);
    const counts = [seconds, rounds, sessions];
    if (!counts.every((count) => Number.isInteger(count) && (count ?? 0) > 0)) return undefined;
    return { seconds: seconds ?? 0, rounds: rounds ?? 0, sessions: sessions ?? 0, out: values.out };
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}
