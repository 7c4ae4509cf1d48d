import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { reloadPath, startEdgeInProcess, type EdgeInProcess } from '#bench/edge/edge-in-process.ts';
import { describeMachine } from '#bench/machine/machine.ts';

/** What the system promises. */
const TARGETS = { multivariantUs: 150, coalescedUs: 80, subrequestsPer1000: 1 };
const CDNS = 3;
const WAITERS = 1_000;
const SESSIONS = 10_000;
const WARM_UP_ROUNDS = 2;
const BASE = 'http://edge.example';
const BROWSER = { 'user-agent': 'Mozilla/5.0 (bench)' };

const USAGE = `npm run bench -- edge [options]
  --rounds 5           rounds of each figure, after ${WARM_UP_ROUNDS} that do not count; the median is given
  --reloads 20         reloads of a round, with ${WAITERS} waiters each
  --out bench/results`;

/**
 * `npm run bench -- edge`: what the edge's handler costs in Node without HTTP: CPU per session playlist (decision, token
 * and text) and per waiter of a held reload, plain and for one CDN, and the requests that reach the origin.
 */
export async function run(args: string[]): Promise<void> {
  const options = readOptions(args);
  if (options === undefined) {
    process.stderr.write(`${USAGE}\n`);
    process.exitCode = 2;
    return;
  }
  const startedAt = new Date();
  const edge = await startEdgeInProcess(CDNS);
  const multivariantUs = await rounds(options.rounds, () => sessionsUs(edge));
  let reload = 0;
  const nextReload = (): number => reload++;
  const before = edge.originRequests();
  const plainUs = await rounds(options.rounds, () => waitersUs(edge, options.reloads, nextReload, undefined));
  const flavourUs = await rounds(options.rounds, () => waitersUs(edge, options.reloads, nextReload, 'cdn-1'));
  const subrequests = (edge.originRequests() - before) / reload;

  const figures = [
    figure(
      `CPU per multivariant playlist with ${CDNS} CDNs, µs`,
      median(multivariantUs),
      TARGETS.multivariantUs,
    ),
    figure('CPU per waiter of a coalesced playlist, µs', median(plainUs), TARGETS.coalescedUs),
    figure('the same with the media of one CDN, µs', median(flavourUs), TARGETS.coalescedUs),
    figure(`requests to the origin per ${WAITERS} waiters`, subrequests, TARGETS.subrequestsPer1000),
  ];
  for (const { name, value, target, met } of figures)
    process.stdout.write(
      `${name.padEnd(56)}${value.toFixed(2).padStart(10)}   ${met ? 'met' : 'MISSED'} (${target})\n`,
    );
  await mkdir(options.out, { recursive: true });
  const file = join(options.out, `edge-${startedAt.toISOString().slice(0, 16).replace(':', '')}.json`);
  const result = {
    startedAt,
    options,
    machine: describeMachine(),
    figures,
    multivariantUs,
    plainUs,
    flavourUs,
  };
  await writeFile(file, `${JSON.stringify(result)}\n`);
  process.stdout.write(`\nwritten to ${file}\n`);
}

/** CPU of all threads, signing included, per session. */
async function sessionsUs({ app }: EdgeInProcess): Promise<number> {
  const request = (): Request => new Request(`${BASE}/live/bench/master.m3u8`, { headers: BROWSER });
  const requests = Array.from({ length: SESSIONS }, request);
  const start = process.cpuUsage();
  for (const one of requests)
    await expectText(await app.fetch(one, () => undefined), 'EXT-X-CONTENT-STEERING');
  return cpuUs(start) / SESSIONS;
}

async function waitersUs(
  edge: EdgeInProcess,
  reloads: number,
  nextReload: () => number,
  flavour: string | undefined,
): Promise<number> {
  let usedUs = 0;
  for (let i = 0; i < reloads; i++) {
    const url = `${BASE}${reloadPath(nextReload(), flavour)}`;
    const requests = Array.from(
      { length: WAITERS },
      (_, viewer) => new Request(`${url}&CMCD=sid%3D${viewer}`),
    );
    const start = process.cpuUsage();
    edge.hold(true);
    const answers = requests.map((request) => edge.app.fetch(request, () => undefined));
    // Every waiter is there before the origin answers.
    await new Promise((resolve) => setImmediate(resolve));
    edge.hold(false);
    for (const answer of await Promise.all(answers)) await expectText(answer, '#EXT-X-PRELOAD-HINT');
    usedUs += cpuUs(start);
  }
  return usedUs / (reloads * WAITERS);
}

async function expectText(answer: Response, text: string): Promise<void> {
  if (answer.status !== 200 || !(await answer.text()).includes(text))
    throw new Error(`the edge answered ${answer.status}`);
}

async function rounds(count: number, measure: () => Promise<number>): Promise<number[]> {
  const values: number[] = [];
  for (let round = 0; round < WARM_UP_ROUNDS + count; round++) values.push(await measure());
  return values.slice(WARM_UP_ROUNDS);
}

function cpuUs(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return user + system;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function figure(name: string, value: number, target: number) {
  return { name, value, target, met: value <= target };
}

function readOptions(args: string[]) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        rounds: { type: 'string', default: '5' },
        reloads: { type: 'string', default: '20' },
        out: { type: 'string', default: 'bench/results' },
      },
    });
    const counts = [Number(values.rounds), Number(values.reloads)];
    if (!counts.every((count) => Number.isInteger(count) && count > 0)) return undefined;
    return { rounds: counts[0] ?? 0, reloads: counts[1] ?? 0, out: values.out };
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}
